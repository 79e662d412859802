// What Grafana's Prometheus data source does, after its documentation: variables, steps, answers to data frames.
import { FieldType, dateTime, rangeUtil } from '@grafana/data';

const API = '/api/v1'; // the page comes from the server that it asks
const seconds = (text) => rangeUtil.intervalToMs(text) / 1000;

export function period(from, to) {
  return rangeUtil.convertRawToRange({ from, to });
}

export function lastly(range, length) {
  const from = dateTime(range.to.valueOf() - rangeUtil.intervalToMs(length));
  return { from, to: range.to, raw: { from, to: range.to } };
}

async function ask(path, fields) {
  const answer = await fetch(API + path, { method: 'POST', body: new URLSearchParams(fields) });
  const text = await answer.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Error(`${answer.status}: ${text.slice(0, 200)}`);
  }
  if (body.status !== 'success') throw new Error(body.error);
  return body;
}

// ------------------------------------------------------------------------------------------------------- variables

const FORMATS = {
  percentencode: (values) => encodeURIComponent(values.join(',')),
  pipe: (values) => values.join('|'),
  csv: (values) => values.join(','),
  raw: (values) => values.join(','),
};

/** Puts values (texts or lists of texts) in for $name, ${name} and ${name:format}; unknown names stay. */
export function interpolate(text, values) {
  return (text ?? '').replace(/\$(\w+)|\$\{(\w+)(?::(\w+))?\}/g, (whole, bare, braced, format) => {
    const name = bare ?? braced;
    if (!(name in values)) return whole;
    const list = [values[name]].flat().map(String);
    if (format === 'queryparam') return list.map((value) => `var-${name}=${encodeURIComponent(value)}`).join('&');
    return FORMATS[format]?.(list) ?? (list.length > 1 ? `(${list.join('|')})` : list[0]);
  });
}

async function labelValues(definition, range) {
  const [, selector, label] = /^label_values\((?:(.*),)?\s*(\w+)\s*\)$/s.exec(definition) ?? [];
  if (!label) throw new Error(`the viewer knows label_values() only, not ${definition}`);
  const fields = new URLSearchParams({ start: range.from.valueOf() / 1000, end: range.to.valueOf() / 1000 });
  if (selector) fields.append('match[]', selector.trim());
  const answer = await (await fetch(`${API}/label/${label}/values?${fields}`)).json();
  return answer.data ?? [];
}

/** Values of a dashboard's variables, and what its bar shows: {values, bar: [{name, text}]}. */
export async function variables(dashboard, chosen, range) {
  const values = {};
  const bar = [];
  for (const variable of dashboard.templating.list) {
    const { name, current } = variable;
    let text = current?.text;
    if (name in chosen) text = values[name] = chosen[name];
    else if (variable.type === 'query') {
      const options = await labelValues(interpolate(variable.definition, values), range);
      const everything = variable.includeAll && [current?.value ?? '$__all'].flat()[0] === '$__all';
      values[name] = everything ? variable.allValue || options : current?.value || options[0] || '';
      text = everything ? `All (${options.length})` : values[name];
    } else values[name] = current?.value ?? '';
    if (variable.hide !== 2) bar.push({ name: variable.label || name, text: String(text ?? '') });
  }
  return { values, bar };
}

// --------------------------------------------------------------------------------------------------------- queries

/** Time variables of a query, and its step in seconds. `scrape` is the data source's scrape interval in seconds. */
function timing(target, panel, range, points, scrape) {
  const least = Math.max(...[target.interval, panel.interval].filter(Boolean).map(seconds), 0) || scrape;
  const step = Math.max(rangeUtil.calculateInterval(range, points, `${least}s`).intervalMs / 1000, least);
  const length = Math.round((range.to.valueOf() - range.from.valueOf()) / 1000);
  const every = target.interval ? seconds(target.interval) : scrape;
  const times = {
    __range: `${length}s`, __range_s: length, __range_ms: length * 1000,
    __interval: `${step}s`, __interval_ms: step * 1000, __rate_interval: `${Math.max(step + every, 4 * every)}s`,
  };
  return { step, times };
}

/** Asks one target. Returns its frames and what the answer was like; throws with the server's words. */
export async function query(target, panel, range, points, values, { scrape, several }) {
  const { step, times } = timing(target, panel, range, points, scrape);
  const expr = interpolate(target.expr, { ...values, ...times });
  const begun = performance.now();
  const aligned = (moment) => Math.floor(moment.valueOf() / 1000 / step) * step;
  const answer = target.instant
    ? await ask('/query', { query: expr, time: range.to.valueOf() / 1000 })
    : await ask('/query_range', { query: expr, start: aligned(range.from), end: aligned(range.to), step });
  const series = listed(answer.data);
  const frames = series.map((one) => frame(one, target, expr, step));
  return {
    frames: target.format !== 'table' ? frames : frames.length ? [table(frames, target.refId, several)] : [],
    told: { expr, ms: Math.round(performance.now() - begun), series: series.length, warnings: answer.warnings ?? [] },
  };
}

function listed({ resultType, result }) {
  if (resultType === 'scalar') return [{ metric: {}, values: [result] }];
  return result.map((one) => (one.value ? { ...one, values: [one.value] } : one.histogram ? { ...one, histograms: [one.histogram] } : one));
}

const number = (text) => ({ '+Inf': Infinity, '-Inf': -Infinity })[text] ?? Number(text);

function legend(format, labels, expr) {
  if (format && format !== '__auto') return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name) => labels[name] ?? '');
  const pairs = Object.entries(labels).filter(([name]) => name !== '__name__').map(([name, value]) => `${name}="${value}"`);
  return (labels.__name__ ?? '') + (pairs.length ? `{${pairs.join(', ')}}` : '') || expr;
}

function frame({ metric, values = [], histograms }, target, expr, step) {
  if (histograms) return cells(histograms, target);
  const name = legend(target.legendFormat, metric, expr);
  return {
    refId: target.refId, name, length: values.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: target.instant ? {} : { interval: step * 1000 }, values: values.map(([time]) => time * 1000) },
      { name: 'Value', type: FieldType.number, labels: { ...metric }, config: name ? { displayNameFromDS: name } : {}, values: values.map(([, text]) => number(text)) },
    ],
  };
}

/** A native histogram: one row for every bucket of every moment. */
function cells(histograms, target) {
  const rows = histograms.flatMap(([time, { buckets = [] }]) => buckets.map(([, low, high, count]) => [time * 1000, number(low), number(high), number(count)]));
  const names = ['xMax', 'yMin', 'yMax', 'count'];
  const fields = names.map((name, n) => ({ name, type: n ? FieldType.number : FieldType.time, config: {}, values: rows.map((row) => row[n]) }));
  return { refId: target.refId, length: rows.length, fields };
}

/** format=table: Time, the labels in alphabetical order ('' where a series has none), Value. */
function table(frames, refId, several) {
  const rows = frames.flatMap(({ length, fields: [time, value] }) => Array.from({ length }, (_, n) => ({ time: time.values[n], value: value.values[n], labels: value.labels })));
  const names = [...new Set(rows.flatMap(({ labels }) => Object.keys(labels)))].sort();
  return {
    refId, length: rows.length,
    fields: [
      { name: 'Time', type: FieldType.time, config: {}, values: rows.map(({ time }) => time) },
      ...names.map((name) => ({ name, type: FieldType.string, config: {}, values: rows.map(({ labels }) => labels[name] ?? '') })),
      { name: several ? `Value #${refId}` : 'Value', type: FieldType.number, config: {}, values: rows.map(({ value }) => value) },
    ],
  };
}

/** Times of an annotation's events in ms: where its query has a value, or the values themselves (useValueForTime). */
export async function events(annotation, range, values, scrape) {
  const expr = annotation.target?.expr ?? annotation.expr;
  const { frames } = await query({ refId: 'Anno', expr, interval: annotation.step }, {}, range, 1000, values, { scrape });
  const moments = frames.flatMap(({ fields: [time, value] }) => (`${annotation.useValueForTime}` === 'true' ? value.values : time.values));
  return [...new Set(moments.map(Math.round))].filter((moment) => moment >= range.from.valueOf() && moment <= range.to.valueOf());
}
