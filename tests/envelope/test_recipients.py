"""Who may open: age files for public keys and passphrases, and what is refused."""

import itertools
import re
import shutil
import subprocess

import pytest

pyrage = pytest.importorskip("pyrage")

from torchprotect.envelope import Identity, Recipients, generate_identity, read_recipients  # noqa: E402
from torchprotect.envelope.data_key import DataKey  # noqa: E402
from torchprotect.envelope.identities import open_envelopes  # noqa: E402
from torchprotect.envelope.recipients import is_reasonable  # noqa: E402
from torchprotect.errors import EnvelopeError, PassphraseError  # noqa: E402

KEY = DataKey(bytes(range(32)))


@pytest.fixture
def alice(tmp_path):
    return generate_identity(tmp_path / "alice"), tmp_path / "alice"


@pytest.fixture
def bob(tmp_path):
    return generate_identity(tmp_path / "bob"), tmp_path / "bob"


@pytest.fixture(params=["ed25519", "rsa"])
def ssh_key(request, tmp_path):
    if shutil.which("ssh-keygen") is None:
        pytest.skip("there is no ssh-keygen")
    command = ["ssh-keygen", "-q", "-t", request.param, "-N", "", "-f", str(tmp_path / "ssh"), "-C", "a comment"]
    subprocess.run(command, check=True)
    return (tmp_path / "ssh.pub").read_text().strip(), tmp_path / "ssh"


def unwrap(envelopes, *openers):
    identities = [each if isinstance(each, Identity) else Identity.load(each) for each in openers]
    return open_envelopes(envelopes, identities, KEY.commitment).secret


class TestRoundTrips:
    def test_each_of_several_recipients(self, alice, bob):
        wrapped = Recipients.of([alice[0], bob[0]]).wrap(KEY)
        assert list(wrapped) == ["envelope.age"]
        assert len(wrapped["envelope.age"]) < 700
        assert unwrap(wrapped, alice[1]) == unwrap(wrapped, bob[1]) == KEY.secret

    def test_ssh_keys(self, ssh_key, alice):
        wrapped = Recipients.of([ssh_key[0], alice[0]]).wrap(KEY)
        assert unwrap(wrapped, ssh_key[1]) == KEY.secret

    def test_a_passphrase_beside_recipients(self, alice):
        wrapped = Recipients.of([alice[0]], "grün und blau").wrap(KEY)
        assert list(wrapped) == ["envelope.age", "envelope-passphrase.age"]
        assert unwrap(wrapped, Identity.of_passphrase("grün und blau")) == KEY.secret
        with pytest.raises(EnvelopeError, match=r"the passphrase is wrong, or envelope-passphrase\.age was changed"):
            unwrap(wrapped, Identity.of_passphrase("blau"))

    def test_the_first_identity_that_opens(self, alice, bob):
        wrapped = Recipients.of([bob[0]]).wrap(KEY)
        assert unwrap(wrapped, alice[1], bob[1]) == KEY.secret

    def test_several_identities_in_one_file(self, alice, bob, tmp_path):
        (tmp_path / "both").write_text(alice[1].read_text() + "\n\n" + bob[1].read_text())
        assert unwrap(Recipients.of([bob[0]]).wrap(KEY), tmp_path / "both") == KEY.secret

    @pytest.mark.skipif(shutil.which("age") is None, reason="the command age is not installed")
    def test_the_command_age(self, alice, tmp_path):
        (tmp_path / "envelope.age").write_bytes(Recipients.of([alice[0]]).wrap(KEY)["envelope.age"])
        command = ["age", "--decrypt", "-i", str(alice[1]), str(tmp_path / "envelope.age")]
        assert subprocess.run(command, check=True, capture_output=True).stdout == KEY.secret
        command = ["age", "--encrypt", "-r", alice[0]]
        wrapped = subprocess.run(command, check=True, capture_output=True, input=bytes(KEY.secret)).stdout
        assert unwrap({"envelope.age": wrapped}, alice[1]) == KEY.secret


def test_every_single_bit_of_an_envelope(alice, bob):
    content = bytearray(Recipients.of([bob[0], alice[0]]).wrap(KEY)["envelope.age"])
    identity, accepted = Identity.load(alice[1]), []
    for position, bit in itertools.product(range(len(content)), range(8)):
        content[position] ^= 1 << bit
        if list(identity.unwrap({"envelope.age": bytes(content)})):
            accepted.append((position, bit))
        content[position] ^= 1 << bit
    assert accepted == []
    assert list(identity.unwrap({"envelope.age": bytes(content)})) == [KEY.secret]


@pytest.mark.parametrize("end", [0, 1, 20, 100, -1])
def test_envelopes_that_were_cut(alice, end):
    content = Recipients.of([alice[0]]).wrap(KEY)["envelope.age"]
    with pytest.raises(EnvelopeError, match="or the envelope was changed"):
        unwrap({"envelope.age": content[:end]}, alice[1])


def test_planted_envelopes_are_passed_over(alice):
    """Whoever knows the public key can wrap a data key of their own for it."""
    mine, planted = (Recipients.of([alice[0]]).wrap(key)["envelope.age"] for key in (KEY, DataKey(bytes(32))))
    assert unwrap({"envelope-1.age": planted, "envelope.age": mine}, alice[1]) == KEY.secret
    with pytest.raises(EnvelopeError, match="it is another export's"):
        unwrap({"envelope.age": planted}, alice[1])


def test_another_program_s_age_file(alice):
    content = pyrage.encrypt(b"a letter", [pyrage.x25519.Recipient.from_str(alice[0])])
    with pytest.raises(EnvelopeError, match="the data key in it is not this export's"):
        unwrap({"envelope.age": content}, alice[1])


def test_envelopes_that_take_long_are_ignored():
    keys = [pyrage.x25519.Identity.generate().to_public() for _ in range(100)]
    assert is_reasonable(pyrage.encrypt(b"x" * 32, keys[:64]))
    assert not is_reasonable(pyrage.encrypt(b"x" * 32, keys))
    by_passphrase = pyrage.passphrase.encrypt(b"x" * 32, "correct horse")
    assert is_reasonable(by_passphrase)
    work = re.compile(rb"(-> scrypt \S+) \d+")
    assert is_reasonable(work.sub(rb"\1 22", by_passphrase))
    assert not is_reasonable(work.sub(rb"\1 23", by_passphrase))
    assert not is_reasonable(bytes(100))
    assert not is_reasonable(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert not is_reasonable(pyrage.encrypt(b"x" * 32, keys[:1]) + bytes(1 << 16))


class TestRefusedRecipients:
    @pytest.mark.parametrize(
        "key",
        [
            "age1abc",
            "",
            "alice@example.org",
            "ssh-ed25519 AAAA",
            "ssh-dss AAAAB3NzaC1kc3MAAACBA",
            "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
            "/home/alice/recipient.txt",
        ],
    )
    def test_malformed(self, key):
        with pytest.raises(EnvelopeError, match="is not a public key that exports can be sealed for"):
            Recipients.of([key])

    def test_a_secret_key_is_not_repeated(self, alice):
        secret = next(line for line in alice[1].read_text().splitlines() if line.startswith("AGE"))
        with pytest.raises(EnvelopeError, match="a secret one was given") as error:
            Recipients.of([secret])
        assert secret[20:] not in str(error.value)

    def test_nobody(self):
        with pytest.raises(EnvelopeError, match="no recipients"):
            Recipients.of([])
        with pytest.raises(EnvelopeError, match="list of public keys, got one str"):
            Recipients.of("age1abc")
        with pytest.raises(PassphraseError, match="blank"):
            Recipients.of([], "  ")
        with pytest.raises(EnvelopeError, match="no recipients"):
            Recipients()
        with pytest.raises(EnvelopeError, match="is not a public key"):
            Recipients(("age1bad",))
        with pytest.raises(EnvelopeError, match="a recipient must be a str, got list"):
            Recipients.of([["a"]])

    def test_files(self, alice, bob, tmp_path):
        path = tmp_path / "team"
        path.write_text(f"# the team\n{alice[0]}\n\n  {bob[0]}\r\n")
        assert read_recipients(path) == [alice[0], bob[0]]
        path.write_text(f"# the team\n{alice[0]} # alice\n")
        with pytest.raises(EnvelopeError, match="team, line 2: .*Each recipient stands alone on its line"):
            read_recipients(path)
        with pytest.raises(EnvelopeError, match="give --recipients-file"):
            Recipients.of([str(path)])
        path.write_text("# nobody\n")
        with pytest.raises(EnvelopeError, match="lists no recipients"):
            read_recipients(path)
        path.write_bytes(b"\xff\xfe\0")
        with pytest.raises(EnvelopeError, match="is not a public key that exports can be sealed for"):
            read_recipients(path)
        with pytest.raises(EnvelopeError, match="a secret one was given"):
            read_recipients(alice[1])


class TestRefusedIdentities:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "holds no identity"),
            (b"# only a comment\n", "holds no identity"),
            (b"AGE-SECRET-KEY-1AAAA\n", "is not a file of identities"),
            (b"hello\n", "is not a file of identities"),
            (b"\x80\x00", "is not a file of identities"),
            (b"age-encryption.org/v1\n-> scrypt", "is encrypted; open it with"),
            (b"-----BEGIN AGE ENCRYPTED FILE-----\n", "is encrypted; open it with"),
            (b"-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n-----END OPENSSH PRIVATE KEY-----\n", "is not an ssh key"),
            (b"age1qyqszqgpqyqszqgpqyqszqgp\n", "holds a recipient, which is public"),
            (b"x" * ((1 << 20) + 1), "larger than 1,048,576 bytes"),
        ],
    )
    def test_files(self, tmp_path, content, message):
        (tmp_path / "identity").write_bytes(content)
        with pytest.raises(EnvelopeError, match=message):
            Identity.load(tmp_path / "identity")

    def test_an_ssh_key_with_a_passphrase(self, tmp_path):
        if shutil.which("ssh-keygen") is None:
            pytest.skip("there is no ssh-keygen")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "12345", "-f", str(tmp_path / "ssh")], check=True)
        with pytest.raises(EnvelopeError, match="must be decrypted first.*not protected by a passphrase"):
            Identity.load(tmp_path / "ssh")

    def test_a_secret_in_the_place_of_a_path(self, alice):
        secret = alice[1].read_text()
        for given in (secret, secret.splitlines()[2]):
            with pytest.raises(EnvelopeError, match="not by the secret itself") as error:
                Identity.load(given)
            assert secret.splitlines()[2][20:] not in str(error.value)

    def test_identities_and_passphrases_of_the_wrong_kind(self, alice):
        with pytest.raises(EnvelopeError, match="was sealed with a passphrase alone; give that"):
            unwrap(Recipients.of([], "correct horse").wrap(KEY), alice[1])
        with pytest.raises(EnvelopeError, match="was not sealed with a passphrase; give the file of an identity"):
            unwrap(Recipients.of([alice[0]]).wrap(KEY), Identity.of_passphrase("correct horse"))

    def test_somebody_else(self, alice, bob):
        with pytest.raises(EnvelopeError, match=r"bob cannot open the export: not sealed for this identity"):
            unwrap(Recipients.of([alice[0]]).wrap(KEY), bob[1])

    def test_no_envelope(self, alice):
        with pytest.raises(EnvelopeError, match="the export has no envelope"):
            unwrap({}, alice[1])


def test_generated_identities(tmp_path):
    recipient = generate_identity(tmp_path / "mine")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    lines = (tmp_path / "mine").read_text().splitlines()
    assert lines[0].startswith("# created: 20")
    assert lines[1] == f"# public key: {recipient}"
    assert lines[2].startswith("AGE-SECRET-KEY-1")
    assert lines[2][20:] not in repr(Identity.load(tmp_path / "mine"))
    with pytest.raises(FileExistsError, match="never overwritten"):
        generate_identity(tmp_path / "mine")


def test_secrets_are_not_shown(alice):
    recipients = Recipients.of([alice[0]], "correct horse")
    assert "correct" not in repr(recipients)
    assert "correct" not in repr(vars(Identity.of_passphrase("correct horse")))
