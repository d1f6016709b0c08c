"""Make the sealed export in `envelope/`; the files are the specification, not this script. Run once: age is random."""

from pathlib import Path

import torch

from torchprotect import data, envelope, keys, transforms

HERE = Path(__file__).parent / "envelope"


def main() -> None:
    HERE.mkdir()
    key = keys.KeyBundle(
        keys.AESKey.generate(image_size=(8, 8), block_size=(4, 4)), None, keys.LabelKey.generate(classes=3)
    )
    keys.save(key, HERE / "key.safetensors")
    recipient = envelope.generate_identity(HERE / "identity.txt")
    other = envelope.generate_identity(HERE / "other.txt")
    envelope.generate_signing_key(HERE / "signing.pem")
    (HERE / "passphrase.txt").write_text("correct horse battery staple\n")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (9, 3, 8, 8), dtype=torch.uint8, generator=generator)
    samples = [(image, index % 3) for index, image in enumerate(images)]
    transform = transforms.from_key(key)
    data.export(samples, HERE / "open", transform=transform, key=key, shard_size=4)
    data.export(
        samples,
        HERE / "sealed",
        transform=transform,
        key=key,
        shard_size=4,
        recipients=envelope.Recipients.of([other, recipient], "correct horse battery staple"),
        signing_key=envelope.SigningKey.load(HERE / "signing.pem"),
    )


if __name__ == "__main__":
    main()
