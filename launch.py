"""The entry: compose the configuration, open the door, look up the stage, run it, record the status.

python launch.py --help
python launch.py stage=grpo trainer.group_size=8 reward=gold
"""

from rlhf.cli import main

if __name__ == "__main__":
    main()
