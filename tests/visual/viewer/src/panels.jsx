// Panels, of Grafana's own components where its library has them.
import { BarGauge, BigValue, TimeSeries, VizRepeater, useTheme2 } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { FieldType, VizOrientation, formattedValueToString, getDisplayProcessor, getDisplayValueAlignmentFactors, getFieldDisplayValues, getValueFormat, renderTextPanelMarkdown } from '@grafana/data';
import { useEffect, useRef } from 'react';

const Nothing = ({ panel, width, height }) => (
  <div style={{ width, height, display: 'flex', alignItems: 'center', justifyContent: 'center', textAlign: 'center', fontSize: 18 }}>{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>
);

const repeated = ({ panel: { options }, frames, config, width, height, replace, theme }) => ({
  getValues: () => getFieldDisplayValues({
    fieldConfig: config, reduceOptions: options.reduceOptions, replaceVariables: replace, theme, data: frames, timeZone: 'utc',
    sparkline: (options.graphMode ?? 'none') !== 'none',
  }),
  getAlignmentFactors: getDisplayValueAlignmentFactors, source: frames, renderCounter: 1, width, height,
});

function Stat(props) {
  const theme = useTheme2();
  const { options } = props.panel;
  return (
    <VizRepeater {...repeated({ ...props, theme })} itemSpacing={3} autoGrid orientation={options.orientation ?? 'auto'} renderValue={({ value, width, height, alignmentFactors, count }) => (
      <BigValue value={value.display} sparkline={value.sparkline} alignmentFactors={alignmentFactors} count={count} width={width} height={height} theme={theme} colorMode={options.colorMode}
        graphMode={options.graphMode} justifyMode={options.justifyMode} textMode={options.textMode} text={options.text} disableWideLayout={!options.wideLayout} />
    )} />
  );
}

function Bars(props) {
  const theme = useTheme2();
  const { panel: { options }, width, height } = props;
  const orientation = options.orientation !== 'auto' ? options.orientation : width > height ? VizOrientation.Vertical : VizOrientation.Horizontal;
  // Sizes of bars count where they are set by hand; otherwise bars are as high as 300 px.
  const { minVizWidth, minVizHeight, maxVizHeight } = options.sizing === 'manual' ? options : { minVizWidth: 8, minVizHeight: 16, maxVizHeight: 300 };
  return (
    <VizRepeater {...repeated({ ...props, theme })} {...{ minVizWidth, minVizHeight, maxVizHeight }} itemSpacing={10} orientation={orientation} renderValue={({ value, width, height, alignmentFactors }) => (
      <BarGauge value={value.display} field={value.field} display={getDisplayProcessor({ field: { type: FieldType.number, config: value.field }, theme })} alignmentFactors={alignmentFactors}
        orientation={orientation} width={width} height={height} theme={theme} itemSpacing={10} text={options.text} displayMode={options.displayMode} showUnfilled={options.showUnfilled}
        valueDisplayMode={options.valueMode} namePlacement={options.namePlacement} />
    )} />
  );
}

function Lines(props) {
  const theme = useTheme2();
  const { panel, frames, width, height, range, marks } = props;
  const shown = frames.filter(({ length, fields }) => length && fields.some(({ type }) => type === FieldType.number));
  if (!shown.length) return <Nothing {...props} />;
  const marked = (config) => {
    for (const { moments, color } of marks) config.addHook('draw', ({ ctx: pen, bbox: { top, height: high }, valToPos }) => {
      pen.save();
      pen.strokeStyle = pen.fillStyle = theme.visualization.getColorByName(color);
      pen.lineWidth = 2;
      pen.setLineDash([5, 5]);
      for (const moment of moments) {
        const x = valToPos(moment, 'x', true);
        pen.beginPath();
        pen.moveTo(x, top);
        pen.lineTo(x, top + high);
        pen.stroke();
        pen.beginPath();
        pen.moveTo(x - 5, top + high + 5);
        pen.lineTo(x + 5, top + high + 5);
        pen.lineTo(x, top + high);
        pen.fill();
      }
      pen.restore();
    });
    return null;
  };
  return <TimeSeries frames={shown} structureRev={1} timeRange={range} timeZone="utc" width={width} height={height} legend={panel.options.legend} options={panel.options}>{marked}</TimeSeries>;
}

function Table(props) {
  const { panel, frames: [frame], width, height, range } = props;
  if (!frame?.length || !frame.fields.length) return <Nothing {...props} />;
  return <TableNG data={frame} width={width} height={height} noHeader={panel.options.showHeader === false} cellHeight={panel.options.cellHeight} sortBy={panel.options.sortBy} sortByBehavior="initial"
    resizable structureRev={1} fieldConfig={panel.fieldConfig} timeRange={range} enableVirtualization={false} frozenColumns={panel.options.frozenColumns?.left} noValue={panel.fieldConfig.defaults.noValue} />;
}

const Text = ({ panel, width, height, replace }) => (
  <div className="markdown-html" style={{ width, height, overflow: 'auto' }} dangerouslySetInnerHTML={{ __html: renderTextPanelMarkdown(replace(panel.options.content)) }} />
);

// -------------------------------------------------------------------------------- heatmaps: the viewer's own drawing

/** [from ms, to ms, low, high, count] of every cell, of native histograms or of cumulative classic buckets. */
function cells(frames) {
  if (!frames.length) return [];
  if (frames[0].fields.length === 4) {
    const [times, lows, highs, counts] = ['xMax', 'yMin', 'yMax', 'count'].map((name) => frames.flatMap((frame) => frame.fields.find((field) => field.name === name).values));
    const width = Math.min(...[...new Set(times)].sort((a, b) => a - b).map((time, n, all) => (n ? time - all[n - 1] : Infinity)), 36e5);
    return times.map((time, n) => [time - width, time, lows[n], highs[n], counts[n]]);
  }
  const bound = (frame) => (frame.fields[1].labels.le === '+Inf' ? Infinity : Number(frame.fields[1].labels.le));
  const sorted = [...frames].sort((a, b) => bound(a) - bound(b));
  return sorted.flatMap((frame, n) => {
    const below = n ? new Map(sorted[n - 1].fields[0].values.map((time, k) => [time, sorted[n - 1].fields[1].values[k]])) : new Map();
    const low = n ? bound(sorted[n - 1]) : 0;
    return frame.fields[0].values.map((time, k) => [time - (frame.fields[0].config.interval ?? 6e4), time, low, bound(frame), frame.fields[1].values[k] - (below.get(time) ?? 0)]);
  });
}

function Heat(props) {
  const { panel, frames, width, height, range } = props;
  const canvas = useRef();
  const full = cells(frames).filter((cell) => cell[4] > 1e-9);
  useEffect(() => {
    if (!full.length) return;
    const pen = canvas.current.getContext('2d');
    const edges = [...new Set(full.flatMap(([, , low, high]) => [low, high]))].sort((a, b) => a - b);
    const [left, bottom] = [64, 24];
    const x = (time) => left + Math.max(0, (time - range.from.valueOf()) / (range.to.valueOf() - range.from.valueOf())) * (width - left);
    const y = (bound) => (height - bottom) * (1 - edges.indexOf(bound) / (edges.length - 1 || 1));
    const most = Math.max(...full.map((cell) => cell[4]));
    for (const [from, to, low, high, count] of full) {
      pen.fillStyle = `hsl(${40 - 35 * (count / most)}, 90%, ${30 + 35 * Math.sqrt(count / most)}%)`;
      pen.fillRect(x(from), y(high), Math.max(1, x(to) - x(from) - 1), Math.max(1, y(low) - y(high) - 1));
    }
    pen.font = '12px Inter';
    pen.fillStyle = 'rgb(204, 204, 220)';
    const format = getValueFormat(panel.options.yAxis?.unit ?? panel.fieldConfig.defaults.unit ?? 'short');
    const every = Math.ceil(edges.length / ((height - bottom) / 18));
    edges.forEach((edge, n) => n % every || !Number.isFinite(edge) || pen.fillText(formattedValueToString(format(edge)), 0, Math.max(10, y(edge) + 4)));
    for (const part of [0, 0.25, 0.5, 0.75]) {
      const time = range.from.valueOf() + part * (range.to.valueOf() - range.from.valueOf());
      pen.fillText(new Date(time).toISOString().slice(5, 16).replace('T', ' '), x(time), height - 6);
    }
  });
  return full.length ? <canvas ref={canvas} width={width} height={height} /> : <Nothing {...props} />;
}

export const VIEWS = { stat: Stat, bargauge: Bars, timeseries: Lines, table: Table, text: Text, heatmap: Heat };
