"""TiKV's transactional commands, as far as two-phase commit needs them (no async commit, no 1PC).

A lock that is held is told at once; TiKV would let a pessimistic lock wait for it first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.tikv_double.cluster import ID_BYTES, Cluster, Region
from tests.tikv_double.messages import more
from tests.tikv_double.mvcc import (
    CHECK_NOT_EXISTS,
    INSERT,
    PESSIMISTIC,
    PUT,
    Lock,
    Mvcc,
    TxnRefused,
    encoded,
)
from tests.tikv_double.refusals import key_not_in_region

__all__ = ["TXN_METHODS", "run_txn"]

_TTL_EXPIRE_ROLLBACK, _LOCK_NOT_EXIST_ROLLBACK = 1, 2
_TTL_EXPIRE_PESSIMISTIC, _LOCK_NOT_EXIST_DO_NOTHING = 4, 5


def _get(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    value = mvcc.read(ask.key, ask.version)
    return {"value": value, "not_found": value is None}


def _pairs(mvcc: Mvcc, keys: list[bytes], version: int) -> list[Any]:
    pairs = []
    for key in keys:
        try:
            value = mvcc.read(key, version)
        except TxnRefused as refused:
            pairs.append(more.TxnPair(error=refused.error, key=key))
            continue
        if value is not None:
            pairs.append(more.TxnPair(key=key, value=value))
    return pairs


def _batch_get(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    return {"pairs": _pairs(mvcc, ask.keys, ask.version)}


def _scan(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    keys = sorted({*mvcc.writes, *mvcc.locks}, reverse=ask.reverse)
    low, high = (ask.end_key, ask.start_key) if ask.reverse else (ask.start_key, ask.end_key)
    inside = [key for key in keys if low <= key and (not high or key < high)]
    return {"pairs": _pairs(mvcc, inside, ask.version)[: ask.limit]}


def _may_prewrite(mvcc: Mvcc, ask: Any, mutation: Any, action: int) -> None:
    lock = mvcc.locks.get(mutation.key)
    if lock is not None:
        if lock.start != ask.start_version:
            raise TxnRefused(locked=lock.info(mutation.key))
        return
    if action == 1:  # DO_PESSIMISTIC_CHECK
        raise TxnRefused(abort="PessimisticLockNotFound")
    if ask.for_update_ts:
        return  # TiKV checks nothing of a key that a pessimistic transaction did not lock
    mvcc.refuse_newer(mutation.key, ask.start_version, ask.start_version)
    exists = mvcc.committed(mutation.key, ask.start_version) is not None
    if exists and mutation.op in (INSERT, CHECK_NOT_EXISTS):
        raise TxnRefused(already_exist=more.AlreadyExist(key=mutation.key))


def _prewrite(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    errors = []
    actions = [*ask.pessimistic_actions, *[0] * len(ask.mutations)]
    for mutation, action in zip(ask.mutations, actions, strict=False):
        try:
            _may_prewrite(mvcc, ask, mutation, action)
        except TxnRefused as refused:
            errors.append(refused.error)
    if errors:
        return {"errors": errors}
    for mutation in ask.mutations:
        if mutation.op != CHECK_NOT_EXISTS:
            mvcc.locks[mutation.key] = Lock(
                ask.primary_lock,
                ask.start_version,
                ask.lock_ttl,
                mutation.op,
                mutation.value,
                ask.for_update_ts,
            )
    return {}


def _commit(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    for key in ask.keys:
        lock = mvcc.locks.get(key)
        if lock is not None and lock.start == ask.start_version:
            continue
        ended = mvcc.of_txn(key, ask.start_version)
        if ended is None or ended.commit == ended.start:
            raise TxnRefused(retryable=f"TxnLockNotFound key: {key.hex()}")
    for key in ask.keys:
        lock = mvcc.locks.get(key)
        if lock is not None and lock.start == ask.start_version:
            mvcc.commit(key, lock, ask.commit_version)
    return {"commit_version": ask.commit_version}


def _pessimistic_lock(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    errors, values = [], []
    for mutation in ask.mutations:
        lock = mvcc.locks.get(mutation.key)
        try:
            if lock is not None and lock.start != ask.start_version:
                raise TxnRefused(locked=lock.info(mutation.key))
            mvcc.refuse_newer(mutation.key, ask.start_version, ask.for_update_ts)
        except TxnRefused as refused:
            errors.append(refused.error)
        values.append(mvcc.committed(mutation.key, ask.for_update_ts))
    if errors:
        return {"errors": errors}
    for mutation in ask.mutations:
        mvcc.locks[mutation.key] = Lock(
            ask.primary_lock,
            ask.start_version,
            ask.lock_ttl,
            PESSIMISTIC,
            for_update_ts=ask.for_update_ts,
        )
    if not ask.return_values:
        return {}
    return {
        "values": [value or b"" for value in values],
        "not_founds": [value is None for value in values],
    }


def _pessimistic_rollback(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    for key in ask.keys:
        lock = mvcc.locks.get(key)
        mine = lock is not None and lock.start == ask.start_version and lock.op == PESSIMISTIC
        if mine and lock.for_update_ts <= ask.for_update_ts:
            del mvcc.locks[key]
    return {}


def _batch_rollback(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    for key in ask.keys:
        _refuse_committed(mvcc, key, ask.start_version)
    for key in ask.keys:
        mvcc.roll_back(key, ask.start_version)
    return {}


def _refuse_committed(mvcc: Mvcc, key: bytes, start: int) -> None:
    ended = mvcc.of_txn(key, start)
    if ended is not None and ended.commit != ended.start:
        raise TxnRefused(abort=f"Committed commit_ts: {ended.commit}")


def _heartbeat(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    lock = mvcc.locks.get(ask.primary_lock)
    if lock is None or lock.start != ask.start_version:
        raise _no_such_txn(ask.start_version, ask.primary_lock)
    lock.ttl = max(lock.ttl, ask.advise_lock_ttl)
    return {"lock_ttl": lock.ttl}


def _no_such_txn(start: int, key: bytes) -> TxnRefused:
    return TxnRefused(txn_not_found=more.TxnNotFound(start_ts=start, primary_key=key))


def _check_txn_status(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    lock = mvcc.locks.get(ask.primary_key)
    if lock is not None and lock.start == ask.lock_ts:
        if not lock.expired(ask.current_ts):
            return {"lock_ttl": lock.ttl}
        if ask.resolving_pessimistic_lock and lock.op == PESSIMISTIC:
            del mvcc.locks[ask.primary_key]
            return {"action": _TTL_EXPIRE_PESSIMISTIC}
        mvcc.roll_back(ask.primary_key, ask.lock_ts)
        return {"action": _TTL_EXPIRE_ROLLBACK}
    ended = mvcc.of_txn(ask.primary_key, ask.lock_ts)
    if ended is not None:
        return {"commit_version": 0 if ended.commit == ended.start else ended.commit}
    if not ask.rollback_if_not_exist:
        raise _no_such_txn(ask.lock_ts, ask.primary_key)
    if ask.resolving_pessimistic_lock:
        return {"action": _LOCK_NOT_EXIST_DO_NOTHING}
    mvcc.roll_back(ask.primary_key, ask.lock_ts)
    return {"action": _LOCK_NOT_EXIST_ROLLBACK}


def _cleanup(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    lock = mvcc.locks.get(ask.key)
    if lock is not None and lock.start == ask.start_version:
        if ask.current_ts and not lock.expired(ask.current_ts):
            raise TxnRefused(locked=lock.info(ask.key))
    else:
        ended = mvcc.of_txn(ask.key, ask.start_version)
        if ended is not None and ended.commit != ended.start:
            return {"commit_version": ended.commit}
    mvcc.roll_back(ask.key, ask.start_version)
    return {}


def _resolve_lock(mvcc: Mvcc, ask: Any) -> dict[str, Any]:
    ended = {info.txn: info.status for info in ask.txn_infos}
    ended.setdefault(ask.start_version, ask.commit_version)
    for key, lock in list(mvcc.locks.items()):
        if lock.start not in ended or (ask.keys and key not in ask.keys):
            continue
        if ended[lock.start]:
            mvcc.commit(key, lock, ended[lock.start])
        else:
            mvcc.roll_back(key, lock.start)
    return {}


_COMMANDS: dict[str, Callable[[Mvcc, Any], dict[str, Any]]] = {
    "KVPessimisticRollback": _pessimistic_rollback,
    "KvBatchGet": _batch_get,
    "KvBatchRollback": _batch_rollback,
    "KvCheckTxnStatus": _check_txn_status,
    "KvCleanup": _cleanup,
    "KvCommit": _commit,
    "KvGet": _get,
    "KvPessimisticLock": _pessimistic_lock,
    "KvPrewrite": _prewrite,
    "KvResolveLock": _resolve_lock,
    "KvScan": _scan,
    "KvTxnHeartBeat": _heartbeat,
}
TXN_METHODS = tuple(_COMMANDS)


def run_txn(method: str, cluster: Cluster, region: Region, ask: Any) -> Any:
    """The command within its region; keys lie there in their encoded form."""
    for key in _keys(ask):
        if not region.holds(encoded(key)):
            raise key_not_in_region(region, key)
    answer = getattr(more, f"{method}Response")
    try:
        return answer(**_COMMANDS[method](cluster.mvcc, ask))
    except TxnRefused as refused:
        return answer(error=refused.error)
    finally:
        if method == "KvCommit":
            _count_writes(cluster, ask)


def _keys(ask: Any) -> list[bytes]:
    for name in ("keys", "mutations"):
        if hasattr(ask, name) and len(getattr(ask, name)):
            return [getattr(each, "key", each) for each in getattr(ask, name)]
    found = (getattr(ask, name, b"") for name in ("key", "primary_key", "start_key"))
    return [key for key in found if key][:1]


def _count_writes(cluster: Cluster, ask: Any) -> None:
    """A put of a transaction counts where a raw put does, once it is committed."""
    for key in ask.keys:
        write = cluster.mvcc.of_txn(key, ask.start_version)
        if write is not None and write.op == PUT and (key, write.start) not in cluster.counted:
            cluster.counted.add((key, write.start))
            cluster.writes[key, write.value[:ID_BYTES]] += 1
