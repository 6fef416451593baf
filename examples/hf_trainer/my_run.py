"""A plain Hugging Face script: MiniLM with LoRA learns to classify reviews. Nothing here is imported from gonogo."""

import json

from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    set_seed,
)


def train(run):
    """As most scripts are. On transformers 5.23 its gradients are `gradient_accumulation_steps` times too large."""
    trainer = make_trainer(run)
    trainer.train(resume_from_checkpoint=run.resume_from)
    trainer.model.save_pretrained(run.output)


def train_fixed(run):
    """The same with the remedy: the Trainer divides by the accumulation steps again."""
    trainer = make_trainer(run)
    trainer.model_accepts_loss_kwargs = False
    trainer.train(resume_from_checkpoint=run.resume_from)
    trainer.model.save_pretrained(run.output)


def make_trainer(run):
    set_seed(run.seed)
    tokenizer = AutoTokenizer.from_pretrained(run.base)
    model = AutoModelForSequenceClassification.from_pretrained(run.base, num_labels=2)
    adapter = LoraConfig(
        task_type="SEQ_CLS",
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=["query", "value"],
    )
    every = run.recipe["training"]["checkpoint_every"]
    rows = [json.loads(line) for line in (run.data / "train.jsonl").read_text("utf-8").splitlines()]
    arguments = TrainingArguments(
        output_dir=run.output,
        seed=run.seed,
        max_steps=run.max_steps or 63,
        learning_rate=3e-3,
        warmup_steps=6,
        weight_decay=0.0,
        max_grad_norm=1.0,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        save_strategy="steps" if every else "no",
        save_steps=every or 500,
        report_to="none",
        disable_tqdm=True,
    )
    return Trainer(
        get_peft_model(model, adapter),
        arguments,
        train_dataset=[
            {**tokenizer(row["text"], truncation=True, max_length=96), "labels": row["label"]}
            for row in rows
        ],
        processing_class=tokenizer,
    )
