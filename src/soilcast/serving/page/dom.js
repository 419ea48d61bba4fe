// Elements of the page, made without markup in strings: what comes from the server stays text.

// Make an element. Attributes that are null, undefined or false are left out; `on` holds listeners by event, `style`
// properties that no stylesheet can know, such as the colour of a legend.
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else if (name === "style") {
      for (const [property, content] of Object.entries(value)) made.style.setProperty(property, content);
    } else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : value);
    }
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

// A labelled control; `control` needs an id.
export function field(label, control, attributes = {}) {
  return element("div", { class: "field", ...attributes }, element("label", { for: control.id }, label), control);
}

// Fill a list of choices, of which each is a value and its words, and choose one.
export function fill(select, choices, chosen) {
  const wanted = choices.map(([value, words]) => `${value}\n${words}`).join("\n");
  if (select.dataset.choices !== wanted) {
    select.dataset.choices = wanted;
    select.replaceChildren(...choices.map(([value, words]) => element("option", { value }, words)));
  }
  select.value = chosen;
}

// A number that shows what fits and holds all of its digits; `missing` stands where there is none.
export function number(value, words, missing = "–") {
  return value === null || value === undefined ? missing : element("data", { value: String(value) }, words);
}

// Call `action` once nothing has asked for it any more for `wait` milliseconds.
export function settled(action, wait) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), wait);
  };
}
