// What machines report, line by line, and the tables made of it.

/** Meaning of one line of results, or null for a line that is only kept in the log. */
export function parseLine(line) {
  const [, text] = /^vm (.*)$/.exec(line) ?? [];
  if (text === undefined) return null;
  const [, kind, rest] = /^(ok|FAILED|not run|fact|scenario|end|booted|host|all done)(?: (.*))?$/.exec(text) ?? [];
  if (!kind) return null;
  switch (kind) {
    case 'ok':
      return { kind: 'ok', check: rest };
    case 'FAILED':
    case 'not run': {
      const [, check, detail] = /^(.*?): (.*)$/.exec(rest) ?? [null, rest, ''];
      return { kind: kind === 'FAILED' ? 'failed' : 'not run', check, detail };
    }
    case 'fact': {
      const [, name, value] = /^([^=]+)=(.*)$/.exec(rest) ?? [];
      return name ? { kind, name, value } : null;
    }
    default:
      return { kind, text: rest ?? '' };
  }
}

/** Checks and facts of one kernel. */
export class Report {
  constructor(kernel) {
    this.kernel = kernel;
    this.facts = new Map();
    this.checks = [];
    this.ended = new Set();
    this.current = null;
  }

  /** Takes in one line; returns what it means. */
  add(line) {
    const result = parseLine(line);
    if (!result) return null;
    if (result.kind === 'scenario') this.current = result.text;
    else if (result.kind === 'end') {
      this.ended.add(result.text);
      this.current = null;
    } else if (result.kind === 'fact') this.facts.set(result.name, result.value);
    else if (['ok', 'failed', 'not run'].includes(result.kind)) this.checks.push({ scenario: this.current ?? 'setup', ...result });
    return result;
  }

  /** Records a check that the host made. */
  record(scenario, kind, check, detail) {
    this.checks.push({ scenario, kind, check, detail });
  }

  count(kind, scenario) {
    return this.checks.filter((each) => each.kind === kind && (!scenario || each.scenario === scenario)).length;
  }

  /** State of one scenario in a few words: `ok (7)`, `FAILED (1 of 7)`, `not run`. */
  summary(scenario) {
    const [ok, failed, notRun] = ['ok', 'failed', 'not run'].map((kind) => this.count(kind, scenario));
    if (failed > 0) return `FAILED (${failed} of ${ok + failed})`;
    if (ok > 0) return `ok (${ok})`;
    return notRun > 0 ? 'not run' : '';
  }
}

/** A table in Markdown. */
export function table(header, rows) {
  const all = [header, ...rows].map((row) => row.map((cell) => String(cell).replaceAll('|', '\\|')));
  const widths = header.map((_, column) => Math.max(3, ...all.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`;
  return [line(all[0]), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...all.slice(1).map(line)].join('\n');
}

/** Facts of every kernel, then the state of each scenario on it. */
export function tables(reports, scenarios) {
  const kernels = reports.map((report) => report.kernel);
  const names = [...new Set(reports.flatMap((report) => [...report.facts.keys()]))];
  const parts = [];
  if (names.length > 0) parts.push(table(['fact', ...kernels], names.map((name) => [name, ...reports.map((report) => report.facts.get(name) ?? '')])));
  parts.push(table(['scenario', ...kernels], scenarios.map(({ name }) => [name, ...reports.map((report) => report.summary(name))])));
  return parts.join('\n\n');
}
