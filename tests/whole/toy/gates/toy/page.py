"""Toy as one page."""

from gonogo.harness.reports.page import Page

PAGE = Page(
    "toy",
    "Toy: rows and steps are counted",
    {
        "Rows": ("Every split has rows enough.", ("toy.rows.enough",)),
        "Steps": ("A short run takes its steps.", ("toy.steps.short",)),
    },
)
