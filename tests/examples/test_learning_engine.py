"""The example does real work, and what it does reaches every metric of the catalogue."""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

import otel_metrics
from examples.learning_engine.classifier import NaiveBayes
from examples.learning_engine.corpus import code_examples, definitions, parse, sources, topic_texts
from examples.learning_engine.engine import LearningEngine
from examples.learning_engine.patterns import NextWord, PatternRecognitionError, PatternRecognizer
from examples.learning_engine.text import words_by_character, words_by_expression
from otel_metrics.assets import service_levels
from tests.command import Running
from tests.dialects import CLASSIC, rules
from tests.servers import ROOT, fetch, promtool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from examples.learning_engine.results import Generation

# Typed by hand: what the catalogue exposes. A histogram is there when its _count is.
EXPOSED = [
    "feature_performance_duration_seconds",
    "feature_performance_size_bytes",
    "feature_performance_ratio",
    "feature_performance_rate_per_second",
    "feature_performance_value",
    "feature_performance_unit_info",
    "feature_satisfaction_score",
    "feature_satisfaction_responses_total",
    "feature_usage_total",
    "feature_usage_duration_seconds",
    "feature_learning_accuracy",
    "feature_learning_confidence",
    "feature_learning_improvement",
    "feature_learning_samples_total",
    "feature_learning_value",
    "feature_optimization_change",
    "feature_optimization_user_impact",
    "feature_optimization_before",
    "feature_optimization_after",
    "feature_optimization_value",
    "resource_utilization_ratio",
    "resource_allocated_bytes",
    "resource_used_bytes",
    "resource_allocated_value",
    "resource_used_value",
    "feature_errors_total",
    "feature_daily_values",
    "feature_daily_sum_of_values",
    "feature_daily_sum_of_squares",
    "feature_daily_min",
    "feature_daily_max",
    "otel_metrics_rejected_total",
    "otel_metrics_label_overflow_total",
    "otel_metrics_series",
    "otel_metrics_scrapes_total",
]


class Ran(NamedTuple):
    generation: Generation
    exposition: str
    samples: dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    """One generation on the whole corpus, and the second scrape after it (the first is counted in it)."""
    otel_metrics.configure(prometheus_url=None, strict=False)
    try:
        engine = LearningEngine(sources())
        (generation,) = engine.run(generations=1)
        with otel_metrics.serve(port=0) as server:
            for _ in range(2):
                text = fetch(server.url).decode()
        samples: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, []).append((sample.labels, sample.value))
        yield Ran(generation, text, samples)
    finally:
        otel_metrics.shutdown()


@pytest.mark.parametrize("name", EXPOSED)
def test_every_metric_of_the_catalogue_holds_data(ran: Ran, name: str) -> None:
    found = ran.samples.get(name) or ran.samples.get(f"{name}_count") or []
    assert any(value != 0 and math.isfinite(value) for _, value in found), sorted(ran.samples)


def test_an_hour_of_it_makes_no_alert_fire(ran: Ran, tmp_path: Path) -> None:
    """Four generations a minute, all like the first. How fast this machine is at the moment is not asked."""
    series = [{"series": f"{name}{{{own}}}", "values": values} for name, own, values in _an_hour(ran)]
    texts = rules(CLASSIC, service_levels.below(ROOT))
    loaded = {name: yaml.safe_load(text)["groups"] for name, text in texts.items() if name != "daily.yml"}
    names = [
        rule["alert"] for groups in loaded.values() for group in groups for rule in group["rules"] if "alert" in rule
    ]
    silent = [
        {"alertname": name, "eval_time": when, "exp_alerts": []}
        for name in names
        if name != "TelemetryHeartbeat"
        for when in ("20m", "80m")
    ]
    for name in loaded:
        (tmp_path / name).write_text(texts[name], encoding="utf-8")
    test = {
        "rule_files": list(loaded),
        "evaluation_interval": "1m",
        "group_eval_order": [
            group["name"] for name in sorted(loaded, key="recording.yml".__ne__) for group in loaded[name]
        ],
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": silent}],
    }
    (tmp_path / "test.yml").write_text(json.dumps(test), encoding="utf-8")
    done = promtool("test", "rules", tmp_path / "test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def _an_hour(ran: Ran) -> Iterator[tuple[str, str, str]]:
    """Series with their labels and values: of counters what a generation adds, again and again, of others the last value."""
    target = 'job="learning-engine",instance="a"'
    yield "up", target, "1x90"
    for name, samples in ran.samples.items():
        if "duration_seconds" in name or name.startswith(("feature_daily", "process_", "python_")):
            continue
        grows = name.startswith("feature") and name.endswith(("_total", "_count", "_sum", "_bucket"))
        for labels, value in samples:
            own = ",".join((target, *(f"{label}={json.dumps(text)}" for label, text in labels.items())))
            scrapes = name == "otel_metrics_scrapes_total"
            yield name, own, f"0+{4 * value!r}x90" if grows else "0+1x90" if scrapes else f"{value!r}x90"


def test_promtool_finds_nothing_to_criticise_in_the_exposition(ran: Ran) -> None:
    checked = promtool("check", "metrics", stdin=ran.exposition)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_accuracy_is_what_the_answers_say(ran: Ran) -> None:
    """The recorded accuracy equals the one counted again, from scratch, with a classifier of our own."""
    model = NaiveBayes(tokenize=words_by_expression)
    documents = [
        document
        for source in sources()
        for document in definitions(source, source.path.read_text(encoding="utf-8", errors="replace"))
    ]
    for document in documents:
        if not document.held_out(0):
            model.learn(document.label, document.text)
    tuned_on = {answer.document.name for answer in ran.generation.answers}
    asked = [document for document in documents if document.name in tuned_on]
    plain = sum(model.rank(document.text).labels[0] == document.label for document in asked) / len(asked)
    counted = sum(a.ranking.labels[0] == a.document.label for a in ran.generation.answers) / len(ran.generation.answers)

    assert ran.generation.accuracy == counted
    # The optimizer tuned the smoothing on other documents: that helps a little, it does not work wonders.
    assert abs(counted - plain) < 0.15
    assert counted > 2 * ran.generation.chance
    recorded = otel_metrics.get_metrics_collector().get_metric_statistics("learning-engine", "accuracy", hours=1)
    assert recorded["avg"] == pytest.approx(counted)


def test_satisfaction_comes_from_the_answers(ran: Ran) -> None:
    satisfaction = otel_metrics.get_advanced_metrics().get_satisfaction_metrics("learning-engine", "accuracy", hours=1)
    answers = ran.generation.answers
    assert satisfaction["total_responses"] == len(answers)
    assert satisfaction["avg_score"] == pytest.approx(sum(1 / answer.rank for answer in answers) / len(answers))


def test_usage_and_errors_are_counted_once_per_event(ran: Ran) -> None:
    metrics = otel_metrics.get_advanced_metrics()
    actions = metrics.get_feature_usage_stats("learning-engine", hours=1)["by_action"]
    assert actions["learn"]["total_usage"] == ran.generation.learnt
    assert actions["classify"]["total_usage"] == len(ran.generation.answers)
    doubtful = sum(answer.ranking.confidence < 0.5 for answer in ran.generation.answers)
    errors = metrics.get_error_stats("learning-engine", hours=1)
    assert errors["by_type"].get("LowConfidenceError", 0) == doubtful
    assert errors["recovered"] == sum(a.given for a in ran.generation.answers if a.ranking.confidence < 0.5)


def test_optimizations_are_measured(ran: Ran) -> None:
    impacts = ran.generation.impacts
    assert impacts["regular_expression"].after < impacts["regular_expression"].before
    assert impacts["pattern_index"].after < impacts["pattern_index"].before
    assert impacts["smoothing"].after >= impacts["smoothing"].before
    recorded = otel_metrics.get_advanced_metrics().get_optimization_metrics("process-optimization", hours=1)
    values = {row["optimization_id"]: (row["before_value"], row["after_value"]) for row in recorded["optimizations"]}
    assert values == {name: (impact.before, impact.after) for name, impact in impacts.items()}


def test_some_things_fail_and_some_of_these_recover(ran: Ran) -> None:
    recoveries = Counter[str]()
    for labels, value in ran.samples["feature_errors_total"]:
        recoveries[labels["recovery"]] += int(value)
    assert recoveries["succeeded"] > 0
    assert recoveries["failed"] > 0


def test_same_work_every_time() -> None:
    """Two runs over a small corpus read, learn and answer the same."""
    few = sources(frozenset({"json", "email", "logging"}))

    def outcome() -> list[tuple[str, tuple[str, ...]]]:
        (generation,) = LearningEngine(few).run(generations=1)
        return [(answer.document.name, answer.ranking.labels) for answer in generation.answers]

    assert outcome() == outcome()


def test_stop_ends_a_run_in_the_middle() -> None:
    engine = LearningEngine(sources())
    engine.stop()
    assert engine.run() == []
    assert engine.progress.documents == 0


def test_both_tokenizers_find_the_same_words() -> None:
    for topic in topic_texts()[:20]:
        assert words_by_expression(topic.text) == words_by_character(topic.text)


def test_index_finds_the_same_patterns() -> None:
    recognizer = PatternRecognizer()
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    for _ in range(4):
        recognizer.learn("animals", words)
    recognizer.learn("law", ["the", "party", "of", "the", "first", "part"])
    recognizer.settle()
    slow = recognizer.votes(words)
    recognizer.indexed = True
    assert recognizer.votes(words) == slow == {"animals": 8}
    assert recognizer.recognize(words) == ("animals", 1.0)
    with pytest.raises(PatternRecognitionError):
        recognizer.recognize(["no", "such", "words"])


def test_next_word_is_the_most_frequent_follower() -> None:
    model = NextWord()
    model.learn(["to", "be", "or", "not", "to", "be", "to", "do"])
    assert model.evaluate([["to", "be"]]) == (1.0, 2 / 3, 1)
    assert model.evaluate([["never", "seen"]]) == (0.0, 0.0, 0)


def test_help_topics_hold_examples_that_parse_and_examples_that_do_not() -> None:
    def parses(example: str) -> bool:
        try:
            compile(example, "<example>", "exec")
        except SyntaxError:
            return False
        return True

    outcomes = {parses(example) for topic in topic_texts() for example in code_examples(topic)}
    assert outcomes == {True, False}


def test_threads_that_parse_at_once_do_not_disturb_each_other() -> None:
    """With ``ast.parse`` alone they do before Python 3.13, when the garbage collector runs Python code meanwhile."""
    texts = [source.path.read_text(errors="replace") for source in sources()[:250]]

    def parses(text: str) -> bool:
        try:
            return bool(parse(text).body)
        except (SyntaxError, ValueError):
            return False

    def yielding(_phase: str, _info: dict[str, int]) -> None:
        sum(range(50))

    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    try:
        gc.callbacks.append(yielding)
        sys.setswitchinterval(1e-6)
        gc.set_threshold(50)
        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(parses, texts)) > 200
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
        gc.callbacks.remove(yielding)


def test_serves_on_and_on_until_terminated() -> None:
    """As the container does: SIGTERM ends it with status 0."""
    program = (sys.executable, "-m", "examples.learning_engine")
    with Running("--serve", "--port", "0", "--pause", "0", program=program) as application:
        url = application.wait_for(r"Metrics: (http://\S+/metrics)")
        application.until(lambda: b'action="learn"' in fetch(url))
        application.signal(signal.SIGTERM)
        assert application.wait() == 0
        assert "Traceback" not in application.output
