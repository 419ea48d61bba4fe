// When the forecast was issued, and which of the coming days is shown.

import * as dates from "./dates.js";
import { element } from "./dom.js";
import { words } from "./words.js";

const MOST_NAMED = 10; // days ahead below which each is named

export function build(form, lookup, set) {
  const issueText = element("output", { id: "issue-text", for: "issue" });
  const issue = element("input", { id: "issue", type: "range", min: 0, step: 1, on: { input: () => choose(Number(issue.value)) } });
  const step = (by, label, sign) =>
    element("button", { type: "button", class: "step-button", "aria-label": label, on: { click: () => choose(Number(issue.value) + by) } }, sign);
  const [earlier, later] = [step(-1, words.earlier, "‹"), step(1, words.later, "›")];
  const issueRow = element("div", { class: "slider" }, earlier, issue, later);
  const lead = element("input", { id: "lead", type: "range", min: 0, step: 1, on: { input: () => set({ lead: leads[Number(lead.value)] }) } });
  const leadText = element("output", { id: "lead-text", for: "lead" });
  const ticks = element("div", { class: "ticks", "aria-hidden": "true" });
  const leadRow = element("div", { class: "slider leads" }, lead, ticks);
  let [issues, leads] = [[], []];

  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(
    element("div", { class: "when" }, element("div", { class: "when-words" }, element("label", { for: "issue" }, words.issued), issueText), issueRow),
    element("div", { class: "when" }, element("div", { class: "when-words" }, element("label", { for: "lead" }, words.ahead), leadText), leadRow),
  );

  function choose(at) {
    const day = issues[Math.min(Math.max(at, 0), issues.length - 1)];
    if (day) set({ issue: day });
  }

  function show(state) {
    const collection = lookup.collection(state);
    [issues, leads] = [collection.issues, collection.leads];
    const at = issues.indexOf(state.issue);
    issue.max = issues.length - 1;
    issue.value = at;
    issue.setAttribute("aria-valuetext", words.issuedOf(dates.long(state.issue), at + 1, issues.length));
    issueText.textContent = dates.medium(state.issue);
    issueRow.hidden = issues.length < 2;
    earlier.disabled = at <= 0;
    later.disabled = at >= issues.length - 1;

    const valid = dates.after(state.issue, state.lead);
    const varies = lookup.variable(state).has_lead;
    lead.max = leads.length - 1;
    lead.value = leads.indexOf(state.lead);
    lead.disabled = !varies;
    lead.setAttribute("aria-valuetext", words.valid(dates.long(valid), state.lead));
    leadText.textContent = varies ? words.valid(dates.medium(valid), state.lead) : words.sameForAllLeads;
    leadRow.hidden = leads.length < 2;
    leadRow.style.setProperty("--count", leads.length);
    const every = Math.ceil(leads.length / MOST_NAMED);
    ticks.replaceChildren(
      ...leads.map((one, index) => {
        const day = dates.after(state.issue, one);
        const named = index % every === 0 ? [element("b", {}, dates.weekday(day)), element("span", {}, dates.dayOfMonth(day))] : [];
        const chosen = one === state.lead ? "tick chosen" : "tick";
        return element("span", { class: chosen, on: { click: () => varies && set({ lead: one }) } }, ...named);
      }),
    );
  }

  return { show };
}
