/**
 * Values as Prometheus's template functions write them, for the expected texts of rule tests and for
 * alerts that a process evaluates itself. Follows prometheus/template/template.go (humanize,
 * humanize1024, humanizePercentage, humanizeDuration, humanizeTimestamp) for values of ordinary size.
 */

/** Go's `%.4g` for values of ordinary size. */
function fourDigits(value: number): string {
  if (Math.abs(value) === Infinity) return value > 0 ? "+Inf" : "-Inf";
  return String(Number(value.toPrecision(4)));
}

function humanize(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return fourDigits(value);
  const prefixes = Math.abs(value) >= 1 ? ["", "k", "M", "G", "T"] : ["", "m", "u", "n"];
  let rest = value;
  let step = 0;
  if (Math.abs(value) >= 1)
    while (Math.abs(rest) >= 1000 && step < prefixes.length - 1) [rest, step] = [rest / 1000, step + 1];
  else while (Math.abs(rest) < 1 && step < prefixes.length - 1) [rest, step] = [rest * 1000, step + 1];
  return `${fourDigits(rest)}${prefixes[step] ?? ""}`;
}

function humanize1024(value: number): string {
  if (Math.abs(value) <= 1 || !Number.isFinite(value)) return fourDigits(value);
  const prefixes = ["", "ki", "Mi", "Gi", "Ti", "Pi"];
  let rest = value;
  let step = 0;
  while (Math.abs(rest) >= 1024 && step < prefixes.length - 1) [rest, step] = [rest / 1024, step + 1];
  return `${fourDigits(rest)}${prefixes[step] ?? ""}`;
}

/** Go's text of a time in UTC. */
function humanizeTimestamp(seconds: number): string {
  const date = new Date(seconds * 1000);
  if (Number.isNaN(date.getTime())) return fourDigits(seconds);
  const fraction = date
    .toISOString()
    .slice(19, -1)
    .replace(/\.?0+$/, "");
  return `${date.toISOString().slice(0, 19).replace("T", " ")}${fraction} +0000 UTC`;
}

function humanizeDuration(seconds: number): string {
  if (Math.abs(seconds) < 1) {
    const text = humanize(seconds);
    return seconds === 0 ? "0s" : `${text}s`;
  }
  const whole = Math.trunc(seconds);
  const [days, hours, minutes] = [
    Math.trunc(whole / 86_400),
    Math.trunc(whole / 3600) % 24,
    Math.trunc(whole / 60) % 60,
  ];
  if (days > 0) return `${days}d ${hours}h ${minutes}m ${whole % 60}s`;
  if (hours > 0) return `${hours}h ${minutes}m ${whole % 60}s`;
  if (minutes > 0) return `${minutes}m ${whole % 60}s`;
  return `${fourDigits(seconds)}s`;
}

/** The template of a rate per minute, which asks Prometheus to multiply. */
const PER_MINUTE =
  /\{\{ with printf "60 \* vector\(%g\)" \$value \| query \}\}\{\{ \. \| first \| value \| printf "%\.1f" \}\}\{\{ end \}\}/g;

/** The template of a noun after a count. */
const PLURAL = /\{\{ if eq \$value 1\.0 \}\}([^{}]*)\{\{ else \}\}([^{}]*)\{\{ end \}\}/g;

const FUNCTIONS: Readonly<Record<string, (value: number) => string>> = {
  humanize,
  humanize1024,
  humanizeDuration,
  humanizeTimestamp,
  humanizePercentage: (value) => `${fourDigits(value * 100)}%`,
};

/**
 * Fills in a template of ours.
 *
 * @param template - with `{{ $labels.x }}`, `{{ $value | f }}`, and our templates of rates and nouns.
 * @param labels - of the firing series.
 * @param value - of the firing series.
 * @returns the text that Alertmanager would get.
 * @throws RangeError for a label that is not there, or a function that is not known here.
 */
export function fillTemplate(
  template: string,
  labels: Readonly<Record<string, string>>,
  value: number,
): string {
  return template
    .replace(PER_MINUTE, () => (60 * value).toFixed(1))
    .replace(PLURAL, (_, one: string, many: string) => (value === 1 ? one : many))
    .replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, name: string) => {
      const text = labels[name];
      if (text === undefined) throw new RangeError(`template names label ${name}, which the series lacks`);
      return text;
    })
    .replace(/\{\{ \$value \| (\w+) \}\}/g, (_, name: string) => {
      const format = FUNCTIONS[name];
      if (format === undefined) throw new RangeError(`template function ${name} is not known to the tests`);
      return format(value);
    });
}
