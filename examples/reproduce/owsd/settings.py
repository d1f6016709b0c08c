"""What makes a cloud's answers for scrambled images say more: size of images, calibration of the key, logarithms.

ImageNet's cloud, up to 1,000 of CIFAR-10's test images, seven tenths for training; a key for each fold. Not in the
paper, and not part of ``all.py``: it asks the cloud under many keys.

Usage: python owsd/settings.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import settings_measures
from owsd_world import Table, World, mean, minus, numbers, read_world, spread
from settings_measures import Reading, Setting

COUNT = 1000
READINGS = (
    Reading("probabilities"),
    Reading("logarithms", logarithms=True),
    Reading("logarithms, rate 1e-3", logarithms=True, learning_rate=1e-3),
)
SETTINGS = (
    Setting("as in the other tables"),
    Setting("key not calibrated", calibrated=False),
    Setting("key of half the size", side=1 / 2),
    Setting("key of a quarter of the size", side=1 / 4),
    Setting("key of half the size, cloud reads 1.75 times larger", side=1 / 2, cloud_size=1.75),
)


def tables(world: World) -> None:
    """Make the table."""
    count, keys = min(COUNT, world.scale.sizes.images // 2), world.scale.folds
    columns = [f"{what}, {each.name}" for what in ("cloud only", "± of cloud only", "both") for each in READINGS]
    table = Table(f"Settings: right labels in percent, {count} images, means over {keys} keys", ["", *columns])
    found = {}
    for setting in SETTINGS:
        given = {"setting": setting, "count": count, "keys": 1}
        found[setting.name] = [world.each(settings_measures.under, **given, reading=each) for each in READINGS]
    given = {"setting": SETTINGS[0], "count": count, "keys": keys, "fold": 0}
    together = [[world.cells.get(settings_measures.under, **given, reading=each)] for each in READINGS]
    for name, each in {**found, f"{SETTINGS[0].name}, {keys} keys at once": together}.items():
        alone = [numbers(one, "cloud 1") for one in each]
        table.row(name, *map(mean, alone), *map(spread, alone), *(mean(numbers(one)) for one in each))
    for name, (plain, logarithms, _) in found.items():
        alone = numbers(logarithms, "cloud 1")
        table.claim(
            f"{name}: logarithms say more than probabilities", minus(alone, numbers(plain, "cloud 1")), ours=alone
        )
        table.claim(
            f"{name}: answers alone stay far below embedding and answer (by 20 points)",
            minus(numbers(logarithms), alone, 20),
            ours=alone,
        )
    several, single = numbers(together[1], "cloud 1"), numbers(found[SETTINGS[0].name][1], "cloud 1")
    table.claim("several keys at once say more than one", minus(several * keys, single), ours=several)
    table.finish(world, "settings")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
