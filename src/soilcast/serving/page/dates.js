// Days as text YYYY-MM-DD, as the server gives them, in words and as numbers. All are days of UTC.

import { LANGUAGE } from "./words.js";

const DAY = 86400;
const format = (options) => new Intl.DateTimeFormat(LANGUAGE, { timeZone: "UTC", ...options });
const LONG = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const MEDIUM = format({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const SHORT = format({ weekday: "short", day: "numeric", month: "short" });
const DATE = format({ day: "numeric", month: "short" });
const WEEKDAY = format({ weekday: "short" });
const MONTH = format({ month: "short", year: "2-digit" });

export const seconds = (day) => Date.parse(`${day}T00:00:00Z`) / 1000;
const date = (day) => new Date(`${day}T00:00:00Z`);

export const long = (day) => LONG.format(date(day));
export const medium = (day) => MEDIUM.format(date(day));
export const short = (day) => SHORT.format(date(day));
export const weekday = (day) => WEEKDAY.format(date(day));
export const dayOfMonth = (day) => String(date(day).getUTCDate());
export const dateOf = (at) => DATE.format(new Date(at * 1000));
export const monthOf = (at) => MONTH.format(new Date(at * 1000));
export const shortOf = (at) => SHORT.format(new Date(at * 1000));

// The day `lead` days after another.
export const after = (day, lead) => new Date((seconds(day) + lead * DAY) * 1000).toISOString().slice(0, 10);
