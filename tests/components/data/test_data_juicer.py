"""Analyzer, executor and refiner on the real Data-Juicer, in warm processes as workers are."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.components.conftest import ComponentProcess, Start

ENV = "data-juicer"
RUNS = int(os.environ.get("SANDBOX_TEST_RUNS", "12"))
"""How often a warm process runs on end; 100 shows more, and takes longer."""
GROWTH = 5_000_000
"""Bytes: those of one resizing of the interpreter's table of interned names, which the folders of a hundred runs bring
about, and a little. A leaked figure or dataset a run is more."""

TEXTS = [
    *(f"Sentence number {number} says that data are looked at before they are kept." for number in range(40)),
    *("ab" * length for length in (1, 5, 100, 400)),
    "*" * 50,
    "# + - # + - 1 2 3",
]
FILTERS: list[dict[str, Any]] = [
    {"text_length_filter": {"min_len": 3, "max_len": 500}},
    {"alphanumeric_filter": {"min_ratio": 0.3, "max_ratio": 1.0}},
    {"special_characters_filter": {"min_ratio": 0.0, "max_ratio": 0.9}},
    {"character_repetition_filter": {"rep_len": 5, "max_ratio": 0.9}},
]


@pytest.fixture(scope="session")
def analyzer(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.data.analyzer:DataAnalyzer")


@pytest.fixture(scope="session")
def executor(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.data.executor:DataExecutor")


@pytest.fixture(scope="session")
def refiner(start_component: Start) -> ComponentProcess:
    return start_component(ENV, "components.data.k_sigma:KSigmaRefiner")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return write(tmp_path / "in" / "data.jsonl", TEXTS)


def write(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"text": text, "id": number}) + "\n" for number, text in enumerate(texts)))
    return path


def read(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def recipe(dataset: Path, name: str = "out.jsonl", **settings: Any) -> dict[str, Any]:
    export = dataset.parent.parent / "out" / name
    return {"dataset_path": str(dataset), "export_path": str(export), "process": FILTERS, **settings}


def test_the_analysis_is_that_of_the_data(analyzer: ComponentProcess, dataset: Path) -> None:
    ran = analyzer.run(recipe(dataset))
    assert ran.error is None, ran.log
    overall, lengths = ran.result["overall"], [len(text) for text in TEXTS]
    assert ran.result["samples"] == overall["count"]["text_len"] == len(TEXTS)
    assert overall["mean"]["text_len"] == pytest.approx(statistics.mean(lengths))
    assert overall["std"]["text_len"] == pytest.approx(statistics.stdev(lengths))
    assert overall["max"]["text_len"] == max(lengths)
    assert sorted(overall) == sorted(["count", "mean", "std", "min", "25%", "50%", "75%", "max"])
    assert sorted(overall["mean"]) == ["alnum_ratio", "char_rep_ratio", "special_char_ratio", "text_len"]


def test_the_analysed_dataset_has_every_sample_with_its_statistics(analyzer: ComponentProcess, dataset: Path) -> None:
    result = analyzer.run(recipe(dataset)).result
    analysed = read(result["export_path"])
    assert [(sample["id"], sample["text"]) for sample in analysed] == list(enumerate(TEXTS))
    assert [sample["__dj__stats__"]["text_len"] for sample in analysed] == [len(text) for text in TEXTS]
    assert [sample["__dj__stats__"] for sample in analysed] == [
        sample["__dj__stats__"] for sample in read(result["stats_path"])
    ]
    assert "text_len" in (Path(result["analysis_path"]) / "overall.csv").read_text()


def test_plots_are_drawn_where_the_recipe_asks_for_them(analyzer: ComponentProcess, dataset: Path) -> None:
    plain = analyzer.run(recipe(dataset, "plain.jsonl")).result
    assert not list(Path(plain["analysis_path"]).glob("*.png"))
    drawn = analyzer.run(recipe(dataset, "drawn.jsonl", plots=True)).result
    assert list(Path(drawn["analysis_path"]).glob("text_len*.png"))
    plain = analyzer.run(recipe(dataset, "plain.jsonl")).result
    assert not list(Path(plain["analysis_path"]).glob("*.png"))


def test_the_executor_keeps_what_the_bounds_allow(executor: ComponentProcess, dataset: Path) -> None:
    ran = executor.run(recipe(dataset))
    assert ran.error is None, ran.log
    kept = read(ran.result["export_path"])
    assert {sample["text"] for sample in kept} == {*TEXTS[:40], "ab" * 5, "ab" * 100}
    assert (ran.result["samples_in"], ran.result["samples_kept"]) == (len(TEXTS), len(kept))
    assert set(kept[0]) == {"text", "id"}


def test_progress_reaches_the_log_as_bars(executor: ComponentProcess, dataset: Path) -> None:
    log = executor.run(recipe(dataset)).log
    assert f"text_length_filter_compute_stats: 100%|██████████| {len(TEXTS)}/{len(TEXTS)} " in log
    assert "Done in" in log


def test_operators_with_and_without_parameters_are_taken(executor: ComponentProcess, dataset: Path) -> None:
    process = ["whitespace_normalization_mapper", {"clean_email_mapper": None}, {"text_length_filter": {"min_len": 60}}]
    assert executor.run(recipe(dataset, process=process)).result["samples_kept"] == 42


def test_nothing_is_left_behind_but_the_results(
    analyzer: ComponentProcess, executor: ComponentProcess, dataset: Path
) -> None:
    analysed, processed = analyzer.run(recipe(dataset, "a.jsonl")), executor.run(recipe(dataset, "b.jsonl"))
    left = sorted(path.name for path in (dataset.parent.parent / "out").iterdir())
    assert left == ["a.jsonl", "a_analysis", "a_stats.jsonl", "b.jsonl", "b_stats.jsonl"]
    assert os.listdir(analysed.cwd) == os.listdir(processed.cwd) == []
    assert [path.name for path in dataset.parent.iterdir()] == ["data.jsonl"]


def test_a_dataset_exported_in_shards_is_a_list_of_paths(executor: ComponentProcess, dataset: Path) -> None:
    shards = executor.run(recipe(dataset, export_shard_size=1000)).result["export_path"]
    assert len(shards) > 1
    assert [sample["id"] for shard in shards for sample in read(shard)] == [*range(40), 41, 42]


@pytest.mark.parametrize(
    "settings",
    [
        {"np": 1},
        {"np": 2},
        {"op_fusion": True},
        {"op_fusion": True, "fusion_strategy": "greedy"},
        {"adaptive_batch_size": True},
        {"use_dag": True},
        {"event_logging": {"enabled": True}},
        {"keep_stats_in_res_ds": True},
        {"skip_op_error": True},
    ],
    ids=str,
)
def test_settings_of_data_juicer_are_heeded_and_change_no_result(
    executor: ComponentProcess, dataset: Path, settings: dict[str, Any]
) -> None:
    ran = executor.run(recipe(dataset, **settings))
    assert ran.error is None, ran.log
    assert ran.result["samples_kept"] == 42
    assert ("__dj__stats__" in read(ran.result["export_path"])[0]) == ("keep_stats_in_res_ds" in settings)


def test_a_sample_is_drawn_without_processing_it(
    analyzer: ComponentProcess, executor: ComponentProcess, dataset: Path
) -> None:
    analysed = analyzer.run(recipe(dataset, "analysed.jsonl")).result["export_path"]
    topk = {"topk": {"field_key": "__dj__stats__.text_len"}}
    asked = recipe(Path(analysed), "sample.jsonl", data_probe_ratio=0.1, data_probe_algo=topk)
    asked["export_path"] = str(dataset.parent.parent / "out" / "sample.jsonl")
    ran = executor.run(asked, "sample")
    assert ran.error is None, ran.log
    drawn = math.ceil(0.1 * len(TEXTS))
    assert ran.result == {"export_path": asked["export_path"], "samples_in": len(TEXTS), "samples": drawn}
    longest = sorted(read(analysed), key=lambda sample: -len(sample["text"]))[:drawn]
    assert read(asked["export_path"]) == sorted(longest, key=lambda sample: sample["id"])
    assert not Path(asked["export_path"].replace(".jsonl", "_stats.jsonl")).exists()
    refused = executor.run({**asked, "data_probe_algo": {"topk": {"field_key": "absent"}}}, "sample")
    assert "no sample has the key 'absent'" in str(refused.error)


def test_a_result_without_samples_is_no_error(executor: ComponentProcess, dataset: Path) -> None:
    result = executor.run(recipe(dataset, process=[{"text_length_filter": {"min_len": 10**6}}])).result
    assert (result["samples_kept"], Path(result["export_path"]).read_text()) == (0, "")


def test_a_folder_that_the_recipe_chooses_is_used(analyzer: ComponentProcess, dataset: Path, tmp_path: Path) -> None:
    result = analyzer.run(recipe(dataset, work_dir=str(tmp_path / "work"))).result
    assert (tmp_path / "work") in Path(result["analysis_path"]).parents


def test_neither_ray_nor_torch_nor_plots_are_imported(executor: ComponentProcess, dataset: Path) -> None:
    assert set(executor.run(recipe(dataset)).modules) == {"data_juicer", "datasets"}


def test_warm_runs_give_the_same_and_change_and_leave_nothing(
    analyzer: ComponentProcess, executor: ComponentProcess, dataset: Path
) -> None:
    other = recipe(dataset, "other.jsonl", image_special_token="<picture>", suffixes=[".jsonl"], use_cache=False)
    for process in (analyzer, executor):
        first = process.run(recipe(dataset))
        for _ in range(RUNS // 2):
            settled = process.run(recipe(dataset))
        for _ in range(RUNS // 2):
            process.run(other)
            last = process.run(recipe(dataset))
        assert first.result == settled.result == last.result
        assert settled.state == last.state
        assert last.rss - settled.rss < GROWTH


def test_a_dataset_rewritten_with_the_same_size_and_time_is_read_anew(
    executor: ComponentProcess, dataset: Path
) -> None:
    before = executor.run(recipe(dataset)).result
    status = dataset.stat()
    write(dataset, [text[::-1].replace(".", "!") if text.endswith(".") else text for text in TEXTS])
    os.utime(dataset, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert dataset.stat().st_size == status.st_size
    after = executor.run(recipe(dataset)).result
    assert before["samples_kept"] == after["samples_kept"]
    assert read(after["export_path"])[0]["text"].startswith("!tpek")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"process": [{"text_lenght_filter": {}}]}, "recipe: process.text_lenght_filter: Unknown operator"),
        ({"process": [{"text_length_filter": {"min": 1}}]}, "recipe: process.text_length_filter: Unknown parameter"),
        ({"process": [{"text_length_filter": {"min_len": "x"}}]}, "expects type 'int', got 'str'"),
        ({"process": [{"a": 1, "b": 2}]}, "recipe: process: an entry must be one operator"),
        ({"process": [{"text_length_filter": 3}]}, "recipe: process: an entry must be one operator"),
        ({"exprot_type": "jsonl"}, "recipe: exprot_type: Data-Juicer has no such setting; did you mean 'export_type'?"),
        ({"np": 0}, "not of type PositiveInt"),
        ({"executor_type": "ray"}, "recipe: executor_type: 'ray' is not supported"),
        ({"export_path": None}, "recipe: export_path: missing"),
        ({"export_path": "s3://bucket/x.jsonl"}, "recipe: export_path: s3://bucket/x.jsonl is not a local path"),
        (
            {"export_path": "x.jsonl.d/y.jsonl"},
            "recipe: export_path: Data-Juicer cannot write below a folder with .jsonl",
        ),
        ({"dataset_path": "absent.jsonl"}, "recipe: dataset_path: absent.jsonl does not exist"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_and_the_process_goes_on(
    executor: ComponentProcess, dataset: Path, settings: dict[str, Any], message: str
) -> None:
    refused = executor.run(recipe(dataset, **settings))
    assert refused.error is not None
    assert refused.error.startswith("ConfigError: ")
    assert message.lower() in refused.error.lower()
    assert executor.run(recipe(dataset)).error is None


@pytest.mark.parametrize("content", ["\n\n", '{"text": null}\n', '{"other": 1}\n'])
def test_a_dataset_without_samples_is_an_error(executor: ComponentProcess, dataset: Path, content: str) -> None:
    dataset.write_text(content)
    error = executor.run(recipe(dataset)).error
    assert error is not None
    assert error.startswith("ComponentFailed: ")
    assert "data.jsonl" in error


def test_a_broken_line_is_an_error_that_names_the_file(executor: ComponentProcess, dataset: Path) -> None:
    dataset.write_text('{"text": "a"}\n{"text": \n')
    error = executor.run(recipe(dataset)).error
    assert error is not None
    assert "data.jsonl" in error


def test_an_operator_that_fails_is_an_error_and_not_an_empty_dataset(executor: ComponentProcess, dataset: Path) -> None:
    process = [{"specified_numeric_field_filter": {"field_key": "text.absent", "min_value": 1}}]
    failed = executor.run(recipe(dataset, process=process))
    assert failed.error is not None
    assert not (dataset.parent.parent / "out" / "out.jsonl").exists()


def test_a_package_that_is_missing_is_named_and_not_installed(executor: ComponentProcess, dataset: Path) -> None:
    failed = executor.run(recipe(dataset, process=[{"fix_unicode_mapper": {}}]))
    assert failed.error is not None
    assert "'ftfy'" in failed.error
    assert "which is not in its env" in failed.error


def test_a_recipe_without_statistics_cannot_be_analysed(analyzer: ComponentProcess, dataset: Path) -> None:
    error = analyzer.run(recipe(dataset, process=[{"clean_email_mapper": {}}])).error
    assert (
        error == "ConfigError: recipe: process: none of its operators computes statistics, so nothing can be analysed"
    )


def test_a_refined_recipe_is_one_that_data_juicer_runs(
    analyzer: ComponentProcess, executor: ComponentProcess, refiner: ComponentProcess, dataset: Path, tmp_path: Path
) -> None:
    analysis = analyzer.run(recipe(dataset)).result["overall"]
    path = tmp_path / "refined.yaml"
    wide = [
        {"text_length_filter": {"min_len": 5, "max_len": 10**6}},
        {"alphanumeric_filter": {"min_ratio": 0, "max_ratio": 1}},
    ]
    config = {"recipe": recipe(dataset, process=wide), "path_k_sigma_recipe": str(path), "k": 1, "analysis": analysis}
    result = refiner.run(config).result
    assert len(result["changes"]) == 4
    lines = path.read_text().splitlines()
    assert lines[0] == "# refined by k-sigma, k = 1"
    assert lines[1].startswith("# text_length_filter.min_len: 5 -> ")
    bounds = {change["parameter"]: change["after"] for change in result["changes"]}
    process = [
        {"text_length_filter": {"min_len": bounds["min_len"], "max_len": bounds["max_len"]}},
        {"alphanumeric_filter": {"min_ratio": bounds["min_ratio"], "max_ratio": bounds["max_ratio"]}},
    ]
    kept = executor.run(recipe(dataset, process=process)).result["samples_kept"]
    assert 0 < kept < len(TEXTS)


def test_without_an_analysis_the_recipes_own_dataset_is_analysed(
    analyzer: ComponentProcess, refiner: ComponentProcess, dataset: Path, tmp_path: Path
) -> None:
    config = {"recipe": recipe(dataset), "path_k_sigma_recipe": str(tmp_path / "refined.yaml")}
    analysed = analyzer.run(recipe(dataset)).result
    given = {**config, "analysis": analysed["overall"], "dataset_path": analysed["export_path"]}
    result = refiner.run(config).result
    assert result == refiner.run(given).result
    assert [change["gone_before"] for change in result["bounds"][:2]] == [1, 1]


OFFLINE: list[dict[str, Any]] = [
    {"alphanumeric_filter": {"min_ratio": 0.1, "max_ratio": 0.99}},
    {"average_line_length_filter": {"min_len": 1, "max_len": 500}},
    {"character_repetition_filter": {"rep_len": 5, "min_ratio": 0.0, "max_ratio": 0.99}},
    {"maximum_line_length_filter": {"min_len": 1, "max_len": 500}},
    {"special_characters_filter": {"min_ratio": 0.0, "max_ratio": 0.99}},
    {"specified_numeric_field_filter": {"field_key": "id", "min_value": 0, "max_value": 1000}},
    {"text_length_filter": {"min_len": 1, "max_len": 1000, "max_closed_interval": False}},
    {"word_repetition_filter": {"rep_len": 2, "min_ratio": 0.0, "max_ratio": 0.99}},
    {"words_num_filter": {"min_num": 1, "max_num": 1000}},
    {"image_aspect_ratio_filter": {"min_ratio": 0.1, "max_ratio": 9.0, "any_or_all": "all"}},
    {"image_shape_filter": {"min_width": 1, "max_width": 999, "min_height": 1, "max_height": 999}},
    {"image_size_filter": {"min_size": "1", "max_size": "1MB"}},
]
"""Every operator with bounds on statistics that needs no model, and no package that the env lacks."""

DRAW = """
import sys
from PIL import Image
for number in range(24):
    Image.new("RGB", (8 + number, 40 - number)).save(f"{sys.argv[1]}/{number}.png")
"""


@pytest.fixture(scope="module")
def pictures(component_env: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of all lengths, each with a picture or two."""
    folder = tmp_path_factory.mktemp("pictures") / "in"
    folder.mkdir()
    subprocess.run([str(component_env(ENV)), "-c", DRAW, str(folder)], check=True)
    samples = [
        {
            "text": text,
            "id": number,
            "images": [str(folder / f"{each % 24}.png") for each in range(number, number + 1 + number % 2)],
        }
        for number, text in enumerate(TEXTS)
    ]
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return path


def test_every_operator_that_runs_offline_is_refined_to_what_data_juicer_accepts_and_keeps_as_counted(
    analyzer: ComponentProcess, executor: ComponentProcess, refiner: ComponentProcess, pictures: Path, tmp_path: Path
) -> None:
    asked = recipe(pictures, "analysed.jsonl", process=OFFLINE)
    analysed = analyzer.run(asked)
    assert analysed.error is None, analysed.log
    config = {
        "recipe": asked,
        "path_k_sigma_recipe": str(tmp_path / "refined.json"),
        "k": 0.8,
        "analysis": {**analysed.result["overall"], "files": {"dataset": analysed.result["export_path"]}},
    }
    result = refiner.run(config).result
    bounds = result["bounds"]
    assert [bound["reason"] for bound in bounds] == [""] * 26
    process = json.loads(Path(result["path"]).read_text())["process"]
    whole = executor.run(recipe(pictures, "kept.jsonl", process=process))
    assert whole.error is None, whole.log
    for operator in process:
        kept = executor.run(recipe(pictures, "one.jsonl", process=[operator])).result["samples_kept"]
        gone = [bound["gone_after"] for bound in bounds if bound["operator"] in operator]
        assert max(gone) <= len(TEXTS) - kept <= sum(gone), operator
    assert sum(bound["gone_after"] for bound in bounds) > 100


def test_the_tables_of_operators_are_those_of_the_installed_data_juicer(
    component_env: Any, tmp_path: Path, executor: ComponentProcess
) -> None:
    from tests.components.conftest import ROOT

    command = [str(component_env(ENV)), "-m", "components.data.operators", str(tmp_path)]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
    for name in ("operators.json", "operator_bounds.json", "settings.json"):
        assert (tmp_path / name).read_text() == (ROOT / "components" / "data" / name).read_text()
