"""`rollout=vllm`: what contradicts itself is refused in one line."""

from __future__ import annotations

import pytest

from rlhf.config.compose import compose
from rlhf.errors import ConfigError

GRPO = ["stage=grpo", "model=tiny", "reward=gold", "rollout=vllm"]
OWN = [*GRPO, "rollout.vllm.python=/opt/vllm/bin/python"]
LOCAL = [*GRPO, "rollout.vllm.url=http://127.0.0.1:8000"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([*OWN, "rollout.vllm.mode=process"], "rollout.vllm.mode must be one of server, in_process"),
        ([*OWN, "rollout.vllm.dtype=fp16"], "rollout.vllm.dtype must be one of auto, float32, bfloat16"),
        ([*OWN, "rollout.vllm.memory_share=1.2"], "rollout.vllm.memory_share must lie between 0 and 1; got 1.2"),
        ([*OWN, "rollout.vllm.memory_share=0"], "rollout.vllm.memory_share must be above 0"),
        ([*OWN, "rollout.vllm.max_restarts=-1"], "rollout.vllm.max_restarts must be at least 0"),
        ([*OWN, "rollout.vllm.port=70000"], "rollout.vllm.port must lie between 1 and 65535"),
        ([*OWN, "rollout.vllm.canary_tolerance=0"], "rollout.vllm.canary_tolerance must be above 0"),
        ([*OWN, "rollout.vllm.device='0, 1'"], 'rollout.vllm.device must be GPU numbers such as "1" or "2,3"'),
        ([*OWN, "rollout.vllm.prt=1"], "Did you mean rollout.vllm.port?"),
        ([*OWN, "rollout.vllm.port=x"], "rollout.vllm.port must be a whole number or null; got 'x'"),
        ([*OWN, "rollout.vllm.mode=in_process"], "rollout.vllm.python belongs to rollout.vllm.mode=server"),
        ([*LOCAL, "rollout.vllm.mode=in_process"], "rollout.vllm.url belongs to rollout.vllm.mode=server"),
        ([*LOCAL, "rollout.vllm.port=1"], "rollout.vllm.port is for a server that the run starts"),
        ([*GRPO, "rollout.vllm.url=127.0.0.1:8000"], "rollout.vllm.url must be http://host:port"),
        ([*GRPO, "rollout.vllm.url=http://a:1/v1"], "rollout.vllm.url must be http://host:port"),
        (
            [*GRPO, "rollout.vllm.url=http://10.0.0.7:1"],
            "rollout.vllm.sync_folder must name a folder",
        ),
        ([*LOCAL, "rollout.vllm.sync_folder=here"], "rollout.vllm.sync_folder must be an absolute path"),
        ([*OWN, "rollout.vllm.sync=adapter"], "it needs model.lora.enabled=true"),
        ([*OWN, "rollout.engine=native"], "rollout.engine=native with the section rollout.vllm"),
    ],
)
def test_contradictions_are_named(overrides, said):
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_what_goes_together_opens():
    far = [*GRPO, "rollout.vllm.url=http://10.0.0.7:8000", "rollout.vllm.sync_folder=/shared"]
    assert compose(far).rollout.vllm.sync_folder == "/shared"
    lora = [*OWN, "model.lora.enabled=true", "rollout.vllm.sync=adapter", "rollout.vllm.device='2,3'"]
    assert compose(lora).rollout.vllm.device == "2,3"
    assert compose(["stage=eval", "rollout=vllm", "rollout.vllm.python=x"]).rollout.engine == "vllm"


def test_a_key_of_the_section_that_yaml_lacks_is_an_error():
    from omegaconf import OmegaConf

    from rlhf.config.compose import compose_raw
    from rlhf.config.door import open_config

    plain = OmegaConf.to_container(compose_raw(OWN))
    del plain["rollout"]["vllm"]["max_restarts"]
    with pytest.raises(ConfigError, match=r"rollout.vllm.max_restarts is missing"):
        open_config(plain)
