"""The launch checklist in each form that somebody reads: terminal, page, text, data. (`gonogo.harness.reports.allure` is imported by name.)"""

from gonogo.harness.reports.checklist import ChecklistError as ChecklistError
from gonogo.harness.reports.checklist import plain as plain
from gonogo.harness.reports.checklist import validate as validate
from gonogo.harness.reports.checklist import write_all as write_all
from gonogo.harness.reports.terminal import lines as lines
from gonogo.harness.reports.terminal import power_table as power_table
