from dataclasses import replace

import pytest
import torch

from rlhf.trainers.sft import SFTTrainer


def trainer(parts, hardware, **more):
    return SFTTrainer(parts.config, policy=parts.model, tokenizer=parts.tokenizer, demonstrations=parts.demonstrations,
                      hardware=hardware, **more)  # fmt: skip


def test_it_fits_its_demonstrations(tiny, hardware):
    parts = tiny("sft", "trainer.num_steps=60", "trainer.batch_size=8", "trainer.learning_rate=1e-2")
    t = trainer(parts, hardware, eval_demonstrations=parts.demonstrations)
    before = t.evaluate()["loss"]
    t.train()
    assert t.evaluate()["loss"] < 0.25 * before


@pytest.mark.parametrize("tokens", [1, 40, 4096])
def test_the_step_does_not_depend_on_the_micro_batches(tiny, hardware, tokens):
    def weights(budget):
        parts = tiny("sft", "trainer.num_steps=2", "trainer.batch_size=6")
        parts.model.double()
        trainer(parts, replace(hardware, tokens_per_microbatch=budget)).train()
        return torch.cat([p.detach().flatten() for p in parts.model.parameters()])

    torch.testing.assert_close(weights(tokens), weights(200))


def test_epochs_become_steps(tiny, hardware):
    parts = tiny("sft", "trainer.batch_size=3", "trainer.num_epochs=2")
    assert trainer(parts, hardware).num_steps == 6  # 16 visits of 8 examples, 3 at a time
    assert trainer(tiny("sft", "trainer.num_steps=5"), hardware).num_steps == 5
