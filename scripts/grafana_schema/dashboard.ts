// What our dashboards may hold, in terms of Grafana's own types: the input of scripts/grafana_schema.sh.
import type * as raw from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as bargauge from '@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen';
import type * as heatmap from '@grafana/schema/dist/types/raw/composable/heatmap/panelcfg/x/types.gen';
import type * as stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type * as text from '@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen';
import type * as timeseries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

// The types of data source plugins are not in the package.
interface Target {
  refId: string;
  datasource: { type: 'prometheus'; uid: string };
  expr: string;
  legendFormat: string;
  editorMode: 'code';
  range: boolean;
  instant: boolean;
  format: 'time_series' | 'table' | 'heatmap';
  interval?: string;
  exemplar?: boolean;
}

interface PanelOf<Type extends string, Options, Custom>
  extends Omit<raw.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: Type;
  options: Partial<Options>;
  targets: Target[];
  fieldConfig: {
    defaults: Omit<raw.FieldConfig, 'custom'> & { custom?: Partial<Custom> };
    overrides: raw.FieldConfigSource['overrides'];
  };
}

export type StatPanel = PanelOf<'stat', stat.Options, {}>;
export type TimeseriesPanel = PanelOf<'timeseries', timeseries.Options, timeseries.FieldConfig>;
export type TablePanel = PanelOf<'table', table.Options, table.FieldConfig>;
export type HeatmapPanel = PanelOf<'heatmap', heatmap.Options, heatmap.FieldConfig>;
export type BargaugePanel = PanelOf<'bargauge', bargauge.Options, {}>;
export type TextPanel = PanelOf<'text', text.Options, {}>;
type Asking = StatPanel | TimeseriesPanel | TablePanel | HeatmapPanel | BargaugePanel | TextPanel;
export type RowPanel = Omit<raw.RowPanel, 'type' | 'panels'> & { type: 'row'; panels: Asking[] };

// What the plugin for Prometheus reads of an annotation.
interface AnnotationQuery extends raw.AnnotationQuery {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  useValueForTime?: boolean;
}

// `definition` is written by Grafana and not in its types.
type Variable = Omit<raw.VariableModel, 'query'> & { query: string | { query: string; refId: string }; definition?: string };

export interface Dashboard extends Omit<raw.Dashboard, 'panels' | 'templating' | 'annotations'> {
  uid: string;
  panels: Array<Asking | RowPanel>;
  annotations: { list: AnnotationQuery[] };
  templating: { list: Variable[] };
}
