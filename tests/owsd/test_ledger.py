import multiprocessing
import os
import pickle
import shutil
import sqlite3
import stat
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from killing import start_all, told_before_kill

from torchprotect.errors import InputRangeError, LedgerError
from torchprotect.owsd.ledger import PAPER_BOUND, BudgetWarning, Ledger, Use

KEY, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger"


def quiet(ledger, fingerprint, count):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BudgetWarning)
        return ledger.reserve(fingerprint, count)


def test_counts_survive_and_each_key_counts_for_itself(path):
    ledger = Ledger(path)
    assert ledger.use(KEY) == Use(0, PAPER_BOUND)
    assert PAPER_BOUND == 9000
    assert ledger.reserve(KEY, 10) == Use(10, 9000)
    assert ledger.reserve(KEY, 1).left == 8989
    assert ledger.reserve(OTHER, 5).used == 5
    again = Ledger(path)
    assert (again.use(KEY).used, again.use(OTHER).used) == (11, 5)
    assert again.reserve(KEY, 4).used == 15
    assert ledger.use(KEY).used == 15
    assert pickle.loads(pickle.dumps(ledger)).use(KEY).used == 15  # noqa: S301


def test_all_or_nothing_at_the_bound(path):
    ledger = Ledger(path, bound=10)
    ledger.reserve(KEY, 7)
    with pytest.raises(LedgerError, match="7 of 10 images, 4 more would exceed its bound: continue with a new key"):
        ledger.reserve(KEY, 4)
    assert ledger.use(KEY).used == 7
    assert quiet(ledger, KEY, 3) == Use(10, 10)
    with pytest.raises(LedgerError):
        ledger.reserve(KEY, 1)
    with pytest.raises(LedgerError):
        ledger.reserve(OTHER, 11)
    assert ledger.use(OTHER).used == 0
    lower = Ledger(path, bound=5)
    assert lower.use(KEY) == Use(10, 5)
    assert lower.use(KEY).left == 0
    with pytest.raises(LedgerError):
        lower.reserve(KEY, 1)


def test_warns_once_at_80_percent(path):
    ledger = Ledger(path, bound=10)
    ledger.reserve(KEY, 7)
    with pytest.warns(BudgetWarning, match="8 of 10 images") as seen:
        ledger.reserve(KEY, 1)
    assert seen[0].filename == __file__
    ledger.reserve(KEY, 1)  # warnings are errors here
    with pytest.warns(BudgetWarning):
        ledger.reserve(OTHER, 10)
    assert issubclass(BudgetWarning, UserWarning)


def test_warnings_raised_as_errors_roll_the_count_back(path):
    """Counted images may be sent; images whose count raises must not be."""
    ledger = Ledger(path, bound=10)
    ledger.reserve(KEY, 7)
    for _ in range(2):
        with pytest.raises(BudgetWarning, match="8 of 10 images"):
            ledger.reserve(KEY, 1)  # warnings are errors here
        assert ledger.use(KEY).used == 7
    assert quiet(ledger, KEY, 1).used == 8
    assert ledger.reserve(KEY, 1).used == 9


def test_only_the_owner_reads_the_file_and_nothing_else_is_in_it(path):
    old = os.umask(0)
    try:
        Ledger(path).reserve(KEY, 3)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["ledger"]
    with sqlite3.connect(path) as connection:
        assert [row[1] for row in connection.execute("PRAGMA table_info(used)")] == [
            "fingerprint",
            "images",
            "checksum",
        ]
        assert [row[:2] for row in connection.execute("SELECT * FROM used")] == [(KEY, 3)]
    connection.close()


def hammer(path, fingerprint, times):
    ledger = Ledger(path)
    for n in range(times):
        ledger.reserve(fingerprint, 1 + n % 3)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "count"), [("fork", 6), ("spawn", 2)])
def test_many_processes_at_once(path, method, count):
    """The file does not exist yet, so processes also race to create it."""
    context = multiprocessing.get_context(method)
    workers = [context.Process(target=hammer, args=(path, KEY if n % 2 else OTHER, 30)) for n in range(count)]
    start_all(workers)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * count
    ledger = Ledger(path)
    assert ledger.use(KEY).used == ledger.use(OTHER).used == 30 * count
    assert os.listdir(path.parent) == ["ledger"]


def test_many_threads_at_once_take_the_bound_exactly(path):
    ledger = Ledger(path, bound=50)

    def take(_):
        try:
            return quiet(ledger, KEY, 3).used
        except LedgerError:
            return 0

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(take, range(40)))
    assert sorted(used for used in got if used) == list(range(3, 49, 3))
    assert ledger.use(KEY).used == 48


@pytest.mark.slow
def test_killed_at_any_moment(path):
    """Acknowledged counts survive; at most one more, not yet acknowledged when the process was killed."""

    def work():
        ledger = Ledger(path, bound=10**9)
        while True:
            yield ledger.reserve(KEY, 7).used

    for at_least in (1, 1, 2, 3, 5, 8, 13, 21, 34, 55):
        told = told_before_kill(work, at_least)
        used = Ledger(path, bound=10**9).use(KEY).used
        assert told[-1] <= used <= told[-1] + 7
        assert used % 7 == 0


def test_transactions_of_killed_processes_are_rolled_back(path):
    """A journal that is still there, as after a kill in the midst of a commit."""
    ledger = Ledger(path)
    ledger.reserve(KEY, 5)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    for n in range(300):
        connection.execute("INSERT INTO used VALUES (?, 1, 0)", (f"{n:064}",))
    copy = path.parent / "copy"
    shutil.copy(path, copy)
    shutil.copy(f"{path}-journal", f"{copy}-journal")
    assert copy.stat().st_size > 16384  # half of it is in the file already
    connection.close()
    assert Ledger(copy).use(KEY).used == 5
    assert Ledger(copy).use("0" * 64).used == 0


def test_locked(path):
    ledger = Ledger(path, wait=0.05)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    for use in (lambda: ledger.reserve(KEY, 1), lambda: ledger.use(KEY), lambda: Ledger(path, wait=0.05)):
        with pytest.raises(LedgerError, match=r"in use by another process for 0\.05 s"):
            use()
    connection.execute("ROLLBACK")
    connection.close()
    assert ledger.reserve(KEY, 1).used == 1


def make_text(path):
    path.write_text("a shopping list\n" * 100)


def make_empty(path):
    path.write_bytes(b"")


def make_other_database(path):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE used (fingerprint, images, checksum)")
    connection.close()


def make_newer(path):
    Ledger(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()


def make_half(path):
    Ledger(path).reserve(KEY, 5)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (make_text, "damaged"),
        (make_empty, "is not a ledger"),
        (make_other_database, "is not a ledger"),
        (make_newer, "version 2, this torchprotect knows 1"),
        (make_half, "damaged"),
        (lambda path: path.mkdir(), "cannot be used"),
    ],
)
def test_files_that_are_no_ledgers(path, make, text):
    make(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(LedgerError, match=text):
        Ledger(path)
    assert before is None or path.read_bytes() == before


def test_a_changed_count_is_noticed(path):
    ledger = Ledger(path)
    ledger.reserve(KEY, 1000)
    content = bytearray(path.read_bytes())
    place = content.index(KEY.encode()) + len(KEY)
    assert content[place : place + 2] == (1000).to_bytes(2, "big")
    content[place] ^= 2
    path.write_bytes(content)
    for use in (lambda: ledger.reserve(KEY, 1), lambda: ledger.use(KEY), lambda: Ledger(path)):
        with pytest.raises(LedgerError, match="damaged: a count does not match its checksum"):
            use()


@pytest.mark.parametrize("count", ["5", 5.5, None, -5, 0, b"5"])
def test_a_count_of_another_kind_is_noticed(path, count):
    ledger = Ledger(path)
    ledger.reserve(KEY, 5)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("DROP TABLE used")
    connection.execute("CREATE TABLE used (fingerprint, images, checksum)")
    connection.execute("INSERT INTO used VALUES (?, ?, 0)", (KEY, count))
    connection.close()
    with pytest.raises(LedgerError, match="damaged"):
        ledger.reserve(KEY, 1)


@pytest.mark.parametrize(
    "change", ["DROP TABLE used", "ALTER TABLE used RENAME TO unused", "ALTER TABLE used RENAME images TO pictures"]
)
def test_changed_tables_are_reported_as_damage(path, change):
    ledger = Ledger(path)
    ledger.reserve(KEY, 5)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(change)
    connection.close()
    before = path.read_bytes()
    for use in (lambda: ledger.reserve(KEY, 1), lambda: ledger.use(KEY), lambda: Ledger(path)):
        with pytest.raises(
            LedgerError, match="damaged: no such (table|column).*; restore a copy of it, or start a new"
        ):
            use()
    assert path.read_bytes() == before


def test_deleted_ledgers_are_not_recreated(path):
    ledger = Ledger(path)
    ledger.reserve(KEY, 5)
    path.unlink()
    with pytest.raises(LedgerError, match="is missing"):
        ledger.reserve(KEY, 1)
    assert not path.exists()


def test_no_folder(tmp_path):
    with pytest.raises(LedgerError, match="cannot be created: No such file"):
        Ledger(tmp_path / "missing" / "ledger")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only(path):
    Ledger(path).reserve(KEY, 5)
    path.chmod(0o400)
    with pytest.raises(LedgerError, match="readonly"):
        Ledger(path).reserve(KEY, 5)


@pytest.mark.parametrize("bound", [0, -1, 1.5, 9000.0, True, "9000", None, float("nan")])
def test_bad_bound(path, bound):
    with pytest.raises(InputRangeError, match="bound must be an integer of at least 1"):
        Ledger(path, bound=bound)
    assert not path.exists()


def test_bad_arguments(path):
    ledger = Ledger(path)
    for count in (0, -1, 1.0, True, "1", None):
        with pytest.raises(InputRangeError, match="count must be an integer"):
            ledger.reserve(KEY, count)
    for fingerprint in ("", None, b"ab", "a b", "schlüssel", "ab\0"):
        with pytest.raises(InputRangeError, match="fingerprint"):
            ledger.reserve(fingerprint, 1)
        with pytest.raises(InputRangeError, match="fingerprint"):
            ledger.use(fingerprint)


@pytest.mark.parametrize("wait", ["5", -1, None, float("nan"), float("inf"), 1_000_001, True, [5]])
def test_bad_wait(path, wait):
    with pytest.raises(InputRangeError, match="wait, in seconds, must be a finite number from 0 to 1000000"):
        Ledger(path, wait=wait)
    assert not path.exists()
    assert Ledger(path, wait=0).reserve(KEY, 1).used == 1


def test_names_with_odd_characters(tmp_path):
    for name in ("a b?c#d%20e", "ü", "'; DROP TABLE used"):
        assert Ledger(tmp_path / name).reserve(KEY, 2).used == 2
        assert (tmp_path / name).is_file()
    assert len(os.listdir(tmp_path)) == 3
