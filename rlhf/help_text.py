"""What `--help` prints: stages, groups with their options, examples. Read from conf/, so it cannot go out of date."""

from __future__ import annotations

from pathlib import Path

from rlhf.config.paths import config_folder

HEADER = """\
rlhf: train, evaluate and compare alignment algorithms from one configuration tree.

  python launch.py stage=<stage> [group=option ...] [key=value ...]
  python launch.py -m stage=<stage> key=a,b,c            one run for each combination
"""

EXAMPLES = """\
Examples
  python launch.py stage=explore dataset=hh_rlhf
  python launch.py stage=sft trainer.num_steps=50
  python launch.py stage=reward dataset=hh_rlhf
  python launch.py stage=grpo trainer.group_size=8 reward.model=outputs/reward/<run>
  python launch.py stage=grpo reward=gold model.path=outputs/sft/<run>
  python launch.py stage=ppo reward=gold trainer.critic=shared
  python launch.py stage=eval 'models={start: outputs/sft/<run>, grpo: outputs/grpo/<run>}'
  python launch.py stage=compare 'compare.algorithms=[ppo,grpo,dpo]' 'compare.seeds=[0,1,2]'
  python launch.py stage=teacher dataset=hh_rlhf teacher.model=gpt-4.1-mini
  python launch.py stage=report 'runs=[outputs/grpo/<run>,outputs/eval/<run>]'
  python launch.py stage=export export.run=outputs/grpo/<run>@step-000100
  python launch.py -m stage=grpo reward=gold trainer.group_size=4,8 seed=0,1
  python launch.py stage=selfcheck preset=dapo
  python launch.py resume=outputs/grpo/<run>

Look before you run
  python launch.py stage=grpo reward=gold --cfg job      the composed configuration, with every key
  python launch.py stage=grpo reward=gold dry_run=true   steps, tokens, memory and samples; runs nothing
  python launch.py stage=sft debug=one_step model=tiny   one step of everything
  python launch.py --hydra-help                          Hydra's own flags

Documentation: docs/configuration.md, docs/metrics.md.
"""


GROUPS = ("preset", "model", "dataset", "reward", "rollout", "judge", "teacher", "suite", "hardware", "tracking",
          "experiment", "debug")  # fmt: skip


def help_text() -> str:
    """The whole page."""
    conf = config_folder("conf")
    lines = [HEADER, "Stages"]
    lines += [f"  {name:<10} {_first_sentence(conf / 'stage' / f'{name}.yaml')}" for name in _options(conf / "stage")]
    lines += ["", "Groups (each stage has its own choice; override with group=option)"]
    for group in GROUPS:
        lines.append(f"  {group:<10} {', '.join(_options(conf / group))}")
    grids = _options(config_folder("sweeps") / "grid")
    lines += [f"  {'grid':<10} {', '.join(grids)}", "", EXAMPLES]
    return "\n".join(lines)


def _options(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml") if p.stem != "base")


def _first_sentence(path: Path) -> str:
    """The first comment line of a YAML file that is not a package directive."""
    for line in path.read_text().splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line[2:].strip()
    return ""
