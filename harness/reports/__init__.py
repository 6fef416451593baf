"""The launch checklist in each form that somebody reads: terminal, page, text, data. (`harness.reports.allure` is imported by name.)"""

from harness.reports.checklist import ChecklistError as ChecklistError
from harness.reports.checklist import plain as plain
from harness.reports.checklist import validate as validate
from harness.reports.checklist import write_all as write_all
from harness.reports.terminal import lines as lines
from harness.reports.terminal import power_table as power_table
