"""A server of a few lines that speaks the dialects of vLLM, llama_cpp.server and Ollama; run as a program by the tests.

    python fake_server.py PORT NAMES

Its answer to a prompt is the prompt's length, the place of the model among NAMES, and the request's number so far, as
words of small_models' vocabulary. Like llama_cpp.server it lets an unknown model be answered by the first one.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, NAMES = int(sys.argv[1]), sys.argv[2].split(",")
FIRST_WORD = 8  # of w0 in small_models.WORDS
BUSY_S = 0.05


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        names = {
            "/v1/models": {"data": [{"id": name} for name in NAMES]},
            "/api/tags": {"models": [{"name": f"{name}:latest"} for name in NAMES]},
        }
        self.json(names[self.path])

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/extras/tokenize":
            return self.json(
                {"tokens": [*self.ids(body["input"]), *([1] if "w13" in body["input"] else [])]}
            )
        prompt = body["prompt"] if isinstance(body["prompt"], list) else self.ids(body["prompt"])
        if len(prompt) == 1:
            return self.json({"error": "prompt too short"}, 400)
        place = NAMES.index(body["model"]) if body["model"] in NAMES else 0
        count = body.get("max_tokens") or body["options"]["num_predict"]
        self.send_response(200)
        self.end_headers()
        for token in ([len(prompt), place, 0] * count)[:count]:
            time.sleep(BUSY_S / count)
            self.event(body, token)
        if "options" in body:
            self.line(
                {
                    "done": True,
                    "response": "",
                    "prompt_eval_count": len(prompt) + ("w13" in body["prompt"]),
                    "eval_count": count + 1,
                }
            )
        elif "return_token_ids" not in body:
            self.wfile.write(
                b'data: {"choices": [{"text": "", "finish_reason": "length"}]}\n\ndata: [DONE]\n\n'
            )
        else:
            self.wfile.write(b"data: [DONE]\n\n")
        return None

    def event(self, body, token):
        if "options" in body:
            return self.line({"response": f" w{token}"})
        choice = (
            {"token_ids": [FIRST_WORD + token]}
            if body.get("return_token_ids")
            else {"text": f" w{token}", "finish_reason": None}
        )
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")
        return self.wfile.flush()

    def line(self, content):
        self.wfile.write(json.dumps(content).encode() + b"\n")
        self.wfile.flush()

    @staticmethod
    def ids(text):
        return [FIRST_WORD + int(word.removeprefix("w")) for word in text.split()]

    def json(self, content, status=200):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        return


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
