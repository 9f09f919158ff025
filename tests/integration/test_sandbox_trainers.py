"""A trainer written for Data-Juicer Sandbox runs unchanged from a package of the user."""

from __future__ import annotations

import json
import textwrap

from .commands import sandbox as command
from .conftest import Sandbox

TRAINER = """
    import json
    import os
    import re

    from data_juicer_sandbox.model_executors import BaseModelExecutor


    class WordTrainer(BaseModelExecutor):
        def __init__(self, model_config: dict, watcher=None):
            super().__init__(model_config, watcher)
            self.rate = self.model_config["train"]["rate"]
            self.steps = model_config.train.get("steps", 3)

        def data_connector(self, input_data, **kwargs):
            with open(input_data) as lines:
                return [json.loads(line)[kwargs["key"]].split() for line in lines]

        async def _run(self, run_type, run_obj=None, **kwargs):
            words = self.data_connector(self.model_config["train_dataset"], key="text")
            for step in range(self.steps):
                print(f"{run_type} step={step} words={len(words[0])} loss: {self.rate / (step + 1):.3f}")
            os.makedirs(self.model_config["work_dir"], exist_ok=True)
            return self.model_config["work_dir"]

        def _watch_run(self, line, **kwargs):
            match = re.search(r"loss:\\s*([0-9.]+)", line)
            if match and self.watcher is not None:
                self.watcher.watch(float(match.group(1)), "loss")
"""


def test_its_output_is_watched_its_data_are_converted_and_its_result_is_recorded(sandbox: Sandbox) -> None:
    package = sandbox.cwd / "mine" / "my_trainers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "words.py").write_text(textwrap.dedent(TRAINER))
    (sandbox.cwd / "data.jsonl").write_text(json.dumps({"text": "one two three"}) + "\n")
    job = {
        "hook": "TrainModelHook",
        "meta_name": "train",
        "component_path": "./mine",
        "output": "model",
        "extra_configs": {
            "type": "my_trainers.words:WordTrainer",
            "train_dataset": "data.jsonl",
            "work_dir": "models",
            "train": {"rate": 1.5},
        },
    }
    (sandbox.cwd / "words.json").write_text(json.dumps({"execution_job_configs": [job]}))
    ran = command(sandbox, "run", "words.json")
    assert ran.returncode == 0, ran.stderr
    with sandbox.client() as client:
        assert [row.value for row in client.metrics("@", "loss")] == [1.5, 0.75, 0.5]
        (entry,) = client.show("@").iterations[0].context_infos["anonymous"]
    assert entry == {"meta_name": "train", "model": "models"}
    assert "my_trainers.words:WordTrainer step=0 words=3 loss: 1.500" in command(sandbox, "logs", "@", "train").stdout
