"""Two processes read one file: together they get what one process gets, and no pair is parted between them."""

import json
import os
import subprocess
import sys

STEPS, PAIRS, PER_STEP = 9, 7, 6  # three pairs a step, which reach over the end of an epoch of seven

PROCESS = """
import json, sys
from rlhf import distributed
from rlhf.config.compose import compose
from rlhf.data.loading import load_prompts
from rlhf.data.order import ExampleOrder
from rlhf.data.rendering import Renderer
from rlhf.models.tokenizers import byte_tokenizer

path, per_step, steps, first = sys.argv[1], *map(int, sys.argv[2:])
run = compose(["stage=grpo", "reward=gold", "model=tiny", "dataset=local", f"dataset.path={path}",
               "dataset.score_prompt=concise_5", "dataset.max_prompt_tokens=1000", "dataset.eval_fraction=0",
               f"trainer.prompts_per_step={per_step}"])
prompts = load_prompts(run.dataset, "train", Renderer(byte_tokenizer(), run.dataset), seed=0)
order = ExampleOrder(len(prompts.examples), per_step, seed=run.seed, per_unit=prompts.per_unit)
mine = (distributed.rank(), distributed.world_size())
print(json.dumps([[prompts.examples[i].id for i in order.batch(step, *mine)] for step in range(first, steps)]))
"""


def start(path, rank, world_size, first=0):
    environment = os.environ | {"RANK": str(rank), "WORLD_SIZE": str(world_size), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROCESS, str(path), str(PER_STEP), str(STEPS), str(first)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps_of(process):
    out, error = process.communicate(timeout=100)
    assert process.returncode == 0, error
    return json.loads(out)


def test_two_processes_share_every_step_by_whole_pairs(tmp_path):
    resumed = 4
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Q{i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(PAIRS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    alone, first, second, later = (start(path, 0, 1), start(path, 0, 2), start(path, 1, 2), start(path, 1, 2, resumed))
    alone, first, second, later = (steps_of(p) for p in (alone, first, second, later))
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    assert later == second[resumed:]  # a process that is started again in the middle
    for share in (*first, *second):
        assert share and len(share) % 2 == 0
        pairs = [id.rsplit("/", 1) for id in share]
        for (left, side), (right, other) in zip(pairs[::2], pairs[1::2], strict=True):
            assert left == right and (side, other) == ("0", "1")
    visited = [id for step in alone for id in step]
    for epoch in range(STEPS * PER_STEP // (2 * PAIRS)):
        assert len(set(visited[epoch * 2 * PAIRS : (epoch + 1) * 2 * PAIRS])) == 2 * PAIRS
