// window.draw(job): a dashboard as Grafana lays it out. What went wrong is in window.trouble, what was drawn in window.drawn.
import { ThemeContext, applyFieldOverrides, cacheFieldDisplayNames, createTheme } from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { Component } from 'react';
import { flushSync } from 'react-dom';
import { createRoot } from 'react-dom/client';
import { fieldConfig, registry, transformed } from './fields';
import { colours, look } from './look';
import { VIEWS } from './panels';
import { events, interpolate, lastly, period, query, variables } from './prometheus';

const CELL = 30, GAP = 8, MARGIN = 16, HEAD = 100;
const theme = createTheme({ colors: { mode: 'dark' } });
window.trouble = []; // {panel, kind, what}
window.look = look;
window.colours = colours;

const complain = (panel, kind, what) => window.trouble.push({ panel: panel.title ?? '', kind, what: String(what) });

class Boundary extends Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { complain(this.props.panel, 'error', error); }
  render() { return this.state.error ? null : this.props.children; }
}

/** Panels with those of folded rows, which Grafana puts below their heading when it is opened. */
function opened(panels, open) {
  let shift = 0;
  return panels.flatMap((panel) => {
    const moved = { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } };
    if (panel.type !== 'row' || !panel.collapsed || !open) return [moved];
    const top = panel.gridPos.y + 1;
    const inside = panel.panels.map((one) => ({ ...one, gridPos: { ...one.gridPos, y: one.gridPos.y + shift } }));
    shift += Math.max(0, ...panel.panels.map(({ gridPos }) => gridPos.y + gridPos.h - top));
    return [{ ...moved, collapsed: false }, ...inside];
  });
}

async function answered(panel, range, points, values, scrape) {
  const targets = (panel.targets ?? []).filter((target) => !target.hide);
  const told = [];
  const frames = await Promise.all(targets.map(async (target) => {
    try {
      const answer = await query(target, panel, range, points, values, { scrape, several: targets.length > 1 });
      told.push({ refId: target.refId, ...answer.told });
      for (const warning of answer.told.warnings) complain(panel, 'warning', `${target.refId}: ${warning}`);
      return answer.frames;
    } catch (error) {
      complain(panel, 'query', `${target.refId}: ${error.message}`);
      return [];
    }
  }));
  return { told, frames: await transformed(panel.transformations, frames.flat()) };
}

function Box({ panel, frames, range, replace, marks, place }) {
  const View = VIEWS[panel.type];
  const config = fieldConfig(panel);
  const raw = ['heatmap', 'text'].includes(panel.type);
  const data = raw ? frames : applyFieldOverrides({ data: frames, fieldConfig: config, replaceVariables: replace, theme, timeZone: 'utc', fieldConfigRegistry: registry });
  if (!raw) cacheFieldDisplayNames(data);
  const signs = [panel.links?.length && '⧉', panel.timeFrom && `Last ${panel.timeFrom}`].filter(Boolean);
  return (
    <div data-panel={panel.id} style={{ position: 'absolute', ...place }}>
      <PanelChrome title={replace(panel.title)} description={panel.description} width={place.width} height={place.height} hoverHeader={!panel.title}
        titleItems={<span style={{ padding: '0 6px', fontSize: 12, color: theme.colors.text.secondary }}>{signs.join(' ')}</span>}
        displayMode={panel.transparent ? 'transparent' : 'default'} padding={panel.type === 'table' ? 'none' : 'md'}>
        {(width, height) => <Boundary panel={panel}><View {...{ panel, frames: data, config, width, height, range, replace, marks }} /></Boundary>}
      </PanelChrome>
    </div>
  );
}

function Page({ dashboard, panels, bar, range, width, height, ...shared }) {
  const column = (width - 2 * MARGIN + GAP) / 24;
  const quiet = { color: theme.colors.text.secondary };
  const clock = (moment) => moment.toISOString().slice(0, 16).replace('T', ' ');
  return (
    <div style={{ width, height, padding: `${GAP}px ${MARGIN}px`, boxSizing: 'border-box', fontFamily: theme.typography.fontFamily, color: theme.colors.text.primary }}>
      <div style={{ display: 'flex', justifyContent: 'space-between', alignItems: 'center', height: 40, fontSize: 14 }}>
        <span><span style={quiet}>Dashboards › </span>{dashboard.title}</span>
        <span style={{ ...quiet, fontSize: 12 }}>{clock(range.from)} to {clock(range.to)} UTC · {dashboard.links.map(({ title }) => title).join(' · ')}</span>
      </div>
      <div style={{ display: 'flex', gap: 8, height: 44 }}>
        {bar.map(({ name, text }) => (
          <div key={name} style={{ display: 'flex', fontSize: 12, height: 32, lineHeight: '30px', border: `1px solid ${theme.colors.border.weak}`, borderRadius: 2 }}>
            <span style={{ padding: '0 8px', background: theme.colors.background.secondary }}>{name}</span><span style={{ padding: '0 8px' }}>{text} ▾</span>
          </div>
        ))}
      </div>
      <div style={{ position: 'relative' }}>
        {panels.map(({ panel, ...answer }) => {
          const { x, y, w, h } = panel.gridPos;
          const place = { left: x * column, top: y * (CELL + GAP), width: w * column - GAP, height: h * (CELL + GAP) - GAP };
          if (panel.type === 'row') return <div key={panel.id} style={{ position: 'absolute', ...place, fontSize: 18, fontWeight: 500, lineHeight: '30px' }}>{panel.collapsed ? '›' : '⌄'} {panel.title}</div>;
          return <Box key={panel.id} {...{ panel, place, ...answer, ...shared }} />;
        })}
      </div>
    </div>
  );
}

let fonted = false;
let root = createRoot(document.getElementById('root'));

/** Fonts come first: what is drawn on a canvas before keeps another one. */
async function fonts() {
  if (fonted) return;
  fonted = true;
  const styles = document.createElement('div');
  document.body.append(styles);
  flushSync(() => createRoot(styles).render(<ThemeContext.Provider value={theme}><GlobalStyles hackNoBackdropBlur isExtensionSidebarOpen={false} /></ThemeContext.Provider>));
  await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 12px Inter`)));
}

/** job: {dashboard, width, from, to, variables, scrape (s), open}. Resolves with the page's height when everything is in the page. */
window.draw = async ({ dashboard, width, from = dashboard.time.from, to = dashboard.time.to, variables: chosen = {}, scrape, open = false }) => {
  // One dashboard after the other: nothing of the one before is left.
  root.unmount();
  root = createRoot(document.getElementById('root'));
  window.trouble = [];
  const range = period(from, to);
  const { values, bar } = await variables(dashboard, chosen, range);
  const marks = await Promise.all(dashboard.annotations.list.filter(({ enable, expr, target }) => enable !== false && (expr || target?.expr)).map(async (annotation) => {
    try {
      return { color: annotation.iconColor ?? 'blue', moments: await events(annotation, range, values, scrape) };
    } catch (error) {
      complain({ title: annotation.name }, 'query', error.message);
      return { moments: [] };
    }
  }));
  await fonts();
  const all = opened(dashboard.panels, open);
  const panels = await Promise.all(all.map(async (panel) => {
    if (panel.type !== 'row' && !VIEWS[panel.type]) complain(panel, 'error', `the viewer has no panel of type ${panel.type}`);
    const own = panel.timeFrom ? lastly(range, panel.timeFrom) : range;
    const times = { __from: own.from.valueOf(), __to: own.to.valueOf(), __url_time_range: `from=${own.from.valueOf()}&to=${own.to.valueOf()}` };
    const replace = (text, scoped) => interpolate(text, { ...values, ...times, ...Object.fromEntries(Object.entries(scoped ?? {}).map(([name, { value }]) => [name, value])) });
    return { panel, range: own, replace, ...(panel.type === 'row' ? { frames: [] } : await answered(panel, own, Math.max(100, Math.round((panel.gridPos.w * width) / 24)), values, scrape)) };
  }));
  const shown = panels.filter(({ panel }) => panel.type === 'row' || VIEWS[panel.type]);
  window.drawn = shown.filter(({ panel }) => panel.type !== 'row');
  const height = HEAD + Math.max(...all.map(({ gridPos }) => gridPos.y + gridPos.h)) * (CELL + GAP);
  root.render(
    <ThemeContext.Provider value={theme}>
      <Page {...{ dashboard, bar, range, width, height, marks }} panels={shown} />
    </ThemeContext.Provider>,
  );
  return height;
};
