"""Rules and dashboards as objects of Kubernetes: for the Prometheus Operator, and for the sidecar of Grafana's Helm chart."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from textwrap import indent
from typing import TYPE_CHECKING, Final

from otel_metrics.assets.render import DASHBOARDS, RULES
from otel_metrics.assets.rulefile import GENERATED, SOURCE
from otel_metrics.promql import PROMETHEUS_3_5

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = "kubernetes"
CONFIG_MAPS: Final = f"{FOLDER}/dashboards.yaml"

DIALECT: Final = PROMETHEUS_3_5
"""What the operator accepts: it parses every rule itself, by default without the range modifiers of Prometheus 3.16."""

_RULE: Final = """\
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: otel-metrics-{name}
spec:
{groups}"""

_DASHBOARD: Final = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: otel-metrics-dashboard-{name}
  labels:
    grafana_dashboard: "1"
  annotations:
    grafana_folder: otel_metrics
data:
  {file}: |
    {text}
"""

_KUSTOMIZATION: Final = """\
# kubectl apply -k . --server-side, or a base for overlays of your own.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: monitoring
# The Prometheus of kube-prometheus-stack takes rules and monitors with the label of its release.
labels:
  - pairs:
      release: kube-prometheus-stack
resources:
  - rules.yaml
  - dashboards.yaml
  - pod-monitor.yaml
"""

_POD_MONITOR: Final = """\
# Every pod with the label app.kubernetes.io/name: shop, in any namespace, whose container has a port called metrics.
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: otel-metrics-shop
spec:
  # What Prometheus calls the application: the value of this label.
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      app.kubernetes.io/name: shop
  namespaceSelector:
    any: true
  # The rules read native histograms. Before Prometheus 3.8: the feature flag native-histograms instead of this line.
  scrapeNativeHistograms: true
  podMetricsEndpoints:
    - port: metrics
      interval: 15s
      scrapeTimeout: 10s
"""

_DEPLOYMENT: Final = """\
# An example, which the kustomization does not name: what an application needs to be scraped, and what it should have anyway.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  labels:
    app.kubernetes.io/name: shop
spec:
  replicas: 2
  selector:
    matchLabels:
      app.kubernetes.io/name: shop
  template:
    metadata:
      labels:
        app.kubernetes.io/name: shop
    spec:
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: shop
          image: registry.example/shop:1.0.0
          env:
            - name: OTEL_SERVICE_NAME
              value: shop
            # Loopback, the default, is not reached from another pod.
            - name: OTEL_EXPORTER_PROMETHEUS_HOST
              value: 0.0.0.0
          ports:
            - name: metrics
              containerPort: 9464
          # These ask the endpoint of the metrics. An application with a port of its own is asked there.
          startupProbe:
            httpGet:
              path: /-/healthy
              port: metrics
            timeoutSeconds: 5
            periodSeconds: 2
            failureThreshold: 30
          livenessProbe:
            httpGet:
              path: /-/healthy
              port: metrics
            timeoutSeconds: 5
            periodSeconds: 20
            failureThreshold: 3
          readinessProbe:
            httpGet:
              path: /-/healthy
              port: metrics
            timeoutSeconds: 5
            periodSeconds: 10
            failureThreshold: 2
          resources:
            requests:
              cpu: 100m
              memory: 128Mi
            limits:
              memory: 256Mi
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          volumeMounts:
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: 16Mi
"""

BY_HAND: Final = {
    f"{FOLDER}/kustomization.yaml": _KUSTOMIZATION,
    f"{FOLDER}/pod-monitor.yaml": _POD_MONITOR,
    f"{FOLDER}/deployment.yaml": _DEPLOYMENT,
}
"""What is meant to be changed, so it is written once: its path and text."""


def files(rendered: Mapping[str, str]) -> dict[str, str]:
    """Return what is generated anew each time, by its path: the rendered files, which come with theirs, as objects."""
    rules, dashboards = [], []
    for path, text in rendered.items():
        place = PurePosixPath(path)
        if path.startswith(f"{RULES}/"):
            _, _, groups = text.partition("\n")  # without the line that says where it comes from
            groups = indent(groups, "  ")
            rules.append(_RULE.format(name=place.stem.replace("_", "-"), groups=groups))
        elif path.startswith(f"{DASHBOARDS}/"):
            # On one line: the files are what people read, and an object has to be small.
            line = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
            dashboards.append(_DASHBOARD.format(name=place.stem, file=place.name, text=line))
    return {
        f"{FOLDER}/rules.yaml": f"{GENERATED}{SOURCE}\n" + "---\n".join(rules),
        CONFIG_MAPS: f"{GENERATED}{SOURCE}\n" + "---\n".join(dashboards),
    }
