"""The messages of transactions (kvrpcpb.proto), as lines of protobuf; enums are written as numbers.

Field numbers are kvproto's. What two-phase commit without async commit does not use is left out.
"""

from __future__ import annotations

__all__ = ["TXN"]

_CONTEXT = "kvrpcpb.Context context = 1;"
_REGION = "errorpb.Error region_error = 1;"

TXN = f"""
message LockInfo {{ bytes primary_lock = 1; uint64 lock_version = 2; bytes key = 3;
  uint64 lock_ttl = 4; uint64 txn_size = 5; uint32 lock_type = 6; uint64 lock_for_update_ts = 7; }}
message WriteConflict {{ uint64 start_ts = 1; uint64 conflict_ts = 2; bytes key = 3;
  bytes primary = 4; uint64 conflict_commit_ts = 5; uint32 reason = 6; }}
message AlreadyExist {{ bytes key = 1; }}
message TxnNotFound {{ uint64 start_ts = 1; bytes primary_key = 2; }}
message TxnError {{ LockInfo locked = 1; string retryable = 2; string abort = 3;
  WriteConflict conflict = 4; AlreadyExist already_exist = 5; TxnNotFound txn_not_found = 8; }}
message Mutation {{ uint32 op = 1; bytes key = 2; bytes value = 3; }}
message TxnPair {{ TxnError error = 1; bytes key = 2; bytes value = 3; }}
message TxnInfo {{ uint64 txn = 1; uint64 status = 2; }}
message KvGetRequest {{ {_CONTEXT} bytes key = 2; uint64 version = 3; }}
message KvGetResponse {{ {_REGION} TxnError error = 2; bytes value = 3; bool not_found = 4; }}
message KvBatchGetRequest {{ {_CONTEXT} repeated bytes keys = 2; uint64 version = 3; }}
message KvBatchGetResponse {{ {_REGION} repeated TxnPair pairs = 2; TxnError error = 5; }}
message KvScanRequest {{ {_CONTEXT} bytes start_key = 2; uint32 limit = 3; uint64 version = 4;
  bool key_only = 5; bool reverse = 6; bytes end_key = 7; }}
message KvScanResponse {{ {_REGION} repeated TxnPair pairs = 2; TxnError error = 3; }}
message KvPrewriteRequest {{ {_CONTEXT} repeated Mutation mutations = 2; bytes primary_lock = 3;
  uint64 start_version = 4; uint64 lock_ttl = 5; repeated uint32 pessimistic_actions = 7;
  uint64 for_update_ts = 9; bool use_async_commit = 11; bool try_one_pc = 13; }}
message KvPrewriteResponse {{ {_REGION} repeated TxnError errors = 2; uint64 min_commit_ts = 3; }}
message KvCommitRequest {{ {_CONTEXT} uint64 start_version = 2; repeated bytes keys = 3;
  uint64 commit_version = 4; }}
message KvCommitResponse {{ {_REGION} TxnError error = 2; uint64 commit_version = 3; }}
message KvPessimisticLockRequest {{ {_CONTEXT} repeated Mutation mutations = 2;
  bytes primary_lock = 3; uint64 start_version = 4; uint64 lock_ttl = 5; uint64 for_update_ts = 6;
  int64 wait_timeout = 8; bool return_values = 10; }}
message KvPessimisticLockResponse {{ {_REGION} repeated TxnError errors = 2;
  repeated bytes values = 5; repeated bool not_founds = 6; }}
message KVPessimisticRollbackRequest {{ {_CONTEXT} uint64 start_version = 2;
  uint64 for_update_ts = 3; repeated bytes keys = 4; }}
message KVPessimisticRollbackResponse {{ {_REGION} repeated TxnError errors = 2; }}
message KvBatchRollbackRequest {{ {_CONTEXT} uint64 start_version = 2; repeated bytes keys = 3; }}
message KvBatchRollbackResponse {{ {_REGION} TxnError error = 2; }}
message KvTxnHeartBeatRequest {{ {_CONTEXT} bytes primary_lock = 2; uint64 start_version = 3;
  uint64 advise_lock_ttl = 4; }}
message KvTxnHeartBeatResponse {{ {_REGION} TxnError error = 2; uint64 lock_ttl = 3; }}
message KvCheckTxnStatusRequest {{ {_CONTEXT} bytes primary_key = 2; uint64 lock_ts = 3;
  uint64 caller_start_ts = 4; uint64 current_ts = 5; bool rollback_if_not_exist = 6;
  bool resolving_pessimistic_lock = 8; }}
message KvCheckTxnStatusResponse {{ {_REGION} TxnError error = 2; uint64 lock_ttl = 3;
  uint64 commit_version = 4; uint32 action = 5; }}
message KvCleanupRequest {{ {_CONTEXT} bytes key = 2; uint64 start_version = 3;
  uint64 current_ts = 4; }}
message KvCleanupResponse {{ {_REGION} TxnError error = 2; uint64 commit_version = 3; }}
message KvResolveLockRequest {{ {_CONTEXT} uint64 start_version = 2; uint64 commit_version = 3;
  repeated TxnInfo txn_infos = 4; repeated bytes keys = 5; }}
message KvResolveLockResponse {{ {_REGION} TxnError error = 2; }}
"""
