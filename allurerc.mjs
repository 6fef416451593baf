// Allure 3.18.0: npx allure@3.18.0 generate reports/allure-results
// Verdicts are decided by gonogo and stand in the exit status; Allure only shows them.
const begins = (verdict) => new RegExp(`^(?:[\\w.]+: )?${verdict}\\b`);
const failed = ["failed", "broken"];

export default {
  name: "Launch checklist",
  output: "./reports/allure-report",
  historyPath: "./reports/allure-history.jsonl",
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
        reportName: "Launch checklist",
        groupBy: ["epic", "feature", "story"],
        singleFile: false,
        reportLanguage: "en",
      },
    },
  },
};
