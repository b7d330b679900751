"""Two processes that share each step end with the weights that one process ends with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORKER = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file

sys.path.insert(0, {tests!r})
from test_language_training import SETTINGS, lessons, store, student, teacher
from dataclasses import replace
from stillhouse.distill.language import Execution, train_language
from stillhouse.distill.token_losses import TokenLoss

rank, world = int(sys.argv[1]), int(sys.argv[2])
if world > 1:
    meeting = "file://" + str(Path({folder!r}) / "meeting")
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
folder = Path({folder!r}) / f"{{world}}-{{rank}}"
taught, model = lessons(), student()
train_language(
    model,
    lessons=taught,
    held=taught[:3],
    signals=store(folder / "s", teacher(), taught),
    loss=TokenLoss(hard_weight=0.2),
    settings=replace(SETTINGS, step_tokens=128, evaluations=1, learning_rate=1e-2),
    output=folder,
    execution=Execution(threads=1, micro_tokens=32),
    save_checkpoints=False,
)
weights = {{name: one.clone() for name, one in model.state_dict().items() if name != "lm_head.weight"}}
save_file(weights, folder / "weights.safetensors")
"""


def start(tmp_path: Path, world: int) -> None:
    import subprocess
    import sys

    code = WORKER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    # accelerate wants an address to be there; the processes meet in a file, for a free port may be taken meanwhile
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "WORLD_SIZE": str(world)} if world > 1 else {}
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code, str(rank), str(world)],
            env=os.environ | shared | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}),
        )
        for rank in range(world)
    ]
    assert [worker.wait(timeout=600) for worker in workers] == [0] * world


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch cannot join processes")
def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    for world in (1, 2):
        start(tmp_path, world)
    alone, *together = (load_file(tmp_path / name / "weights.safetensors") for name in ("1-0", "2-0", "2-1"))
    for name, one in alone.items():
        for other in together:
            assert torch.allclose(one, other[name], atol=2e-5), name
