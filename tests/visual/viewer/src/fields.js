// Grafana's field options and transformations, which its application registers: the same for the viewer.
import { FieldConfigOptionsRegistry, FieldType, standardTransformers, standardTransformersRegistry, transformDataFrame } from '@grafana/data';

const STANDARD = 'displayName unit min max fieldMinMax decimals noValue color thresholds mappings links actions filterable description';
const CUSTOM = 'cellOptions width minWidth align filterable hidden inspect hideFrom drawStyle lineInterpolation lineWidth fillOpacity gradientMode lineStyle showPoints pointSize spanNulls '
  + 'insertNulls stacking thresholdsStyle axisPlacement axisLabel axisColorMode axisWidth axisSoftMin axisSoftMax axisGridShow axisBorderShow axisCenteredZero scaleDistribution barAlignment '
  + 'barWidthFactor barMaxWidth transform fillBelowTo wrapText wrapHeaderText tooltip footer';

const option = (name, isCustom) => ({
  id: isCustom ? `custom.${name}` : name, path: name, name, isCustom,
  process: (value) => value, shouldApply: () => true, override: () => null, editor: () => null,
});
export const registry = new FieldConfigOptionsRegistry(() => [...STANDARD.split(' ').map((name) => option(name, false)), ...CUSTOM.split(' ').map((name) => option(name, true))]);

standardTransformersRegistry.setInit(() => [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()].map((one) => ({
  id: one.id, name: one.name, transformation: () => Promise.resolve(one), editor: () => null, imageDark: '', imageLight: '',
})));

// What panels do where a dashboard says nothing.
const UNSAID = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto', pointSize: 5, spanNulls: false, insertNulls: false,
    stacking: { mode: 'none', group: 'A' }, axisPlacement: 'auto', axisColorMode: 'text', axisBorderShow: false, axisGridShow: true, axisCenteredZero: false, axisLabel: '',
    scaleDistribution: { type: 'linear' }, barAlignment: 0, barWidthFactor: 0.6, hideFrom: { tooltip: false, viz: false, legend: false }, thresholdsStyle: { mode: 'off' },
  },
  table: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
};

export function fieldConfig(panel) {
  const { defaults, overrides = [] } = structuredClone(panel.fieldConfig);
  defaults.custom = { ...UNSAID[panel.type], ...defaults.custom };
  defaults.color ??= { mode: panel.type === 'timeseries' ? 'palette-classic' : 'thresholds' };
  const properties = overrides.flatMap((override) => override.properties);
  for (const { steps } of [defaults.thresholds, ...properties.filter(({ id }) => id === 'thresholds').map(({ value }) => value)].filter(Boolean)) steps[0].value = -Infinity;
  return { defaults, overrides };
}

/** Applies a panel's transformations in their order. "Time series to table" belongs to Grafana's application, so it is the viewer's own. */
export async function transformed(transformations = [], frames) {
  for (const one of transformations) {
    frames = one.id === 'timeSeriesTable' ? trends(frames) : await new Promise((resolve, reject) => transformDataFrame([one], frames).subscribe({ next: resolve, error: reject }));
  }
  return frames;
}

const isSeries = (frame) => frame.fields.length === 2 && frame.fields[0].type === FieldType.time && frame.fields[1].labels;

function trends(frames) {
  const series = frames.filter(isSeries);
  const refIds = [...new Set(series.map(({ refId }) => refId))];
  const tables = refIds.map((refId) => {
    const own = series.filter((frame) => frame.refId === refId);
    const names = [...new Set(own.flatMap((frame) => Object.keys(frame.fields[1].labels)))];
    const labels = names.map((name) => ({ name, type: FieldType.string, config: {}, values: own.map((frame) => frame.fields[1].labels[name] ?? '') }));
    const drawn = own.map(({ fields: [time, value], ...frame }) => ({ ...frame, fields: [time, { ...value, config: {} }] }));
    return { refId, length: own.length, fields: [...labels, { name: `Trend #${refId}`, type: FieldType.frame, config: {}, values: drawn }] };
  });
  return [...frames.filter((frame) => !isSeries(frame)), ...tables];
}
