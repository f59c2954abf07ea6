;; A channel on golden:* that answers each message with its own payload, as a
;; compiler makes it of the interface v0.1.0: what its functions get and give is the
;; canonical ABI, flat where it fits.
(module
  (memory (export "memory") 1)
  ;; The list of topics, and its one string.
  (data (i32.const 16) "\18\00\00\00\01\00\00\00")
  (data (i32.const 24) "\20\00\00\00\08\00\00\00")
  (data (i32.const 32) "golden:*ok")
  ;; From 64: an outcome, or a joined, of nothing. From 128: the outcome of a
  ;; message, which has one effect, at 160: a `reply` whose status is `ok`.
  (data (i32.const 128) "\a0\00\00\00\01\00\00\00")
  (data (i32.const 168) "\28\00\00\00\02\00\00\00")

  (global $next (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    ;; Rounded up to the alignment, and begun anew before the end of the page.
    (local.set $at
      (i32.and
        (i32.sub (i32.add (global.get $next) (local.get 2)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get 2))))
    (if (i32.gt_u (i32.add (local.get $at) (local.get 3)) (i32.const 65536))
      (then (local.set $at (i32.const 1024))))
    (global.set $next (i32.add (local.get $at) (local.get 3)))
    (local.get $at))

  (func (export "millrace:plugin/channel@0.1.0#topics") (result i32)
    (i32.const 16))

  (func (export "millrace:plugin/channel@0.1.0#join")
    (param i64 i64 i32 i32 i32 i32 i32) (param i32 i32 i32) (param i32 i32 i32)
    (result i32)
    (i32.const 64))

  ;; The socket, the assigns, and the message: its event, its payload, wants-reply.
  (func (export "millrace:plugin/channel@0.1.0#handle-in")
    (param i64 i64 i32 i32 i32 i32 i32) (param i32 i32 i32)
    (param i32 i32) (param $case i32) (param $data i32) (param $length i32) (param i32)
    (result i32)
    (i32.store (i32.const 176) (local.get $case))
    (i32.store (i32.const 180) (local.get $data))
    (i32.store (i32.const 184) (local.get $length))
    (i32.const 128))

  ;; More than sixteen numbers come in memory.
  (func (export "millrace:plugin/channel@0.1.0#handle-info") (param i32) (result i32)
    (i32.const 64))

  (func (export "millrace:plugin/channel@0.1.0#terminate")
    (param i64 i64 i32 i32 i32 i32 i32) (param i32 i32 i32) (param i32 i32)
    (result i32)
    (i32.const 64)))
