// Allure 3.18.0: npx allure@3.18.0 generate reports/allure-results
// Verdicts are decided by gonogo and stand in the exit status; Allure only shows them.
import { readFileSync } from "node:fs";

process.env.ALLURE_NO_ANALYTICS ??= "true"; // a launch report calls nobody

const begins = (verdict) => new RegExp(`^(?:[\\w.]+: )?${verdict}\\b`);
const failed = ["failed", "broken"];

const checklist = () => {
  try {
    return JSON.parse(readFileSync("reports/launch-checklist.json", "utf8"));
  } catch {
    return undefined; // results of another folder: shown without a launch word
  }
};

const told = checklist();
const name = told ? `LAUNCH: ${told.launch.outcome} · ${told.session.subject}, stage ${told.session.stage}` : "Launch checklist";
const variables = told
  ? {
      LAUNCH: told.launch.outcome,
      Judged: `${told.launch.judged} of ${told.launch.total}`,
      Reasons: told.launch.reasons.join("; ").slice(0, 600) || "none",
      Session: told.session.id,
    }
  : {};

export default {
  name,
  output: "./reports/allure-report",
  historyPath: "./reports/allure-history.jsonl",
  variables,
  globalAttachments: told ? ["reports/launch-checklist.html", "reports/launch-checklist.json"] : [],
  categories: {
    rules: [
      { name: "NO-GO", matchers: { statuses: failed, message: begins("NO-GO") }, groupBy: ["severity"], expand: true },
      { name: "UNDECIDED: more evidence needed", matchers: { statuses: failed, message: begins("UNDECIDED") }, expand: true },
      { name: "NOT RUN", matchers: { statuses: failed, message: begins("NOT RUN") }, expand: true },
      { name: "NOT RUN: skipped, which is no pass", matchers: { statuses: ["skipped"] }, expand: true },
      { name: "Broken: the gate itself failed", matchers: { statuses: ["broken"] }, expand: true },
    ],
  },
  plugins: {
    awesome: {
      options: {
        reportName: name,
        groupBy: ["epic", "feature", "story"],
        singleFile: false,
        reportLanguage: "en",
      },
    },
  },
};
