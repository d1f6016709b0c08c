"""What makes a cloud's answers for scrambled images say more: size of images, calibration of the key, logarithms.

ImageNet's cloud, half of CIFAR-10's test images, seven tenths for training; a key for each run. Not in the paper, and
not part of ``all.py``: it asks the cloud under many keys.

Usage: python owsd/settings.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures as measures
from owsd_world import Table, World, mean, minus, numbers, read_world, spread

READINGS = {
    "probabilities": {"logarithms": False, "rate": 1e-4},
    "logarithms": {"logarithms": True, "rate": 1e-4},
    "logarithms, rate 1e-3": {"logarithms": True, "rate": 1e-3},
}
ORDINARY = {"factor": 1.0, "cloud_factor": 1.0, "calibrated": True, "together": 1}
FIRST, LAST = "as in the other tables", "as in the other tables, 3 keys at once"
SETTINGS = {
    FIRST: ORDINARY,
    "key not calibrated": {**ORDINARY, "calibrated": False},
    "key of half the size": {**ORDINARY, "factor": 1 / 2},
    "key of a quarter of the size": {**ORDINARY, "factor": 1 / 4},
    "key of half the size, cloud reads 1.75 times larger": {**ORDINARY, "factor": 1 / 2, "cloud_factor": 1.75},
    LAST: {**ORDINARY, "together": 3},
}


def tables(world: World) -> None:
    """Make the table."""
    count = world.scale.sizes.images // 2
    columns = [f"{inputs}, {reading}" for inputs in ("cloud only", "± of cloud only", "both") for reading in READINGS]
    table = Table(f"Settings: right labels in percent, {count} images, means over keys", ["", *columns])
    found = {
        name: [world.each(measures.reading, count=count, **setting, **how) for how in READINGS.values()]
        for name, setting in SETTINGS.items()
    }
    for name, runs in found.items():
        cloud, both = ([numbers(run, f"{inputs} 1") for run in runs] for inputs in ("cloud", "both"))
        table.row(name, *map(mean, cloud), *map(spread, cloud), *map(mean, both))
        says = f"{name}: logarithms say more than probabilities"
        table.claim(says, minus(cloud[1], cloud[0]), ours=cloud[1])
        says = f"{name}: answers alone stay 20 points below embedding and answer"
        table.claim(says, minus(both[1], cloud[1], 20), ours=cloud[1])
    one, several = (numbers(found[name][1], "cloud 1") for name in (FIRST, LAST))
    table.claim("several keys at once say more than one", minus(several, one), ours=several)
    table.finish(world, "settings")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
