//! The rules of the code as data, each with its reason. The tables of exceptions and of
//! allowances only get shorter: a test fails as soon as one of their entries is too much.

/// A crate below `host/`.
pub(super) struct Crate {
    /// Its folder below `host/`.
    pub(super) folder: &'static str,
    /// The name of its package.
    pub(super) package: &'static str,
    /// The folders of the server's crates that it may depend on; each stands before it.
    pub(super) may_use: &'static [&'static str],
}

/// The crates, the lowest first.
pub(super) const CRATES: &[Crate] = &[
    Crate { folder: "wire", package: "millrace-wire", may_use: &[] },
    Crate { folder: "auth", package: "millrace-auth", may_use: &[] },
    Crate { folder: "telemetry", package: "millrace-telemetry", may_use: &["wire"] },
    Crate { folder: "presence", package: "millrace-presence", may_use: &["wire"] },
    Crate { folder: "session", package: "millrace-session", may_use: &["wire", "presence"] },
    Crate {
        folder: "pipeline",
        package: "millrace-pipeline",
        may_use: &["wire", "telemetry", "presence", "session"],
    },
    Crate {
        folder: "wasm",
        package: "millrace-wasm",
        may_use: &["wire", "telemetry", "presence", "session", "pipeline"],
    },
    Crate {
        folder: "server",
        package: "millrace",
        may_use: &["wire", "auth", "telemetry", "presence", "session", "pipeline", "wasm"],
    },
];
pub(super) const CRATES_WHY: &str = "dependencies go one way, so that a crate is built, tested \
    and understood without those above it; the protocol and pipelines link no wasmtime";

/// Packages of this workspace that each crate may depend on.
pub(super) const ANY_CRATE_MAY_USE: &[&str] = &[
    // Values made of bytes for fuzzing: optional, and depends on nothing.
    "millrace-choices",
];

/// Dependencies that only some crates may have, with the folders of those.
pub(super) const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("wasmtime", &["wasm"], WASM_WHY),
    ("wasmtime-wasi", &["wasm"], WASM_WHY),
    ("wasmparser", &["wasm"], WASM_WHY),
    ("wit-parser", &["wasm"], WASM_WHY),
    ("tokio", &["telemetry", "pipeline", "wasm", "server"], PURE_WHY),
    ("tokio-util", &["pipeline", "server"], PURE_WHY),
    ("hyper", &["wasm", "server"], PURE_WHY),
    ("hyper-util", &["wasm", "server"], PURE_WHY),
];
const WASM_WHY: &str = "one crate knows the Wasm runtime, so the others build without it, and a \
    new version of it changes one crate";
const PURE_WHY: &str = "the protocol does no I/O and starts no tasks, so that all of it is tested \
    as a function";

/// The folders and files of `host/server/src`, the lowest first: each may use those before it.
pub(super) const FOLDERS: &[&str] = &[
    "small_file",
    "secret",
    "token",
    "outbox",
    "pubsub",
    "plugin",
    "config",
    "presence",
    "dashboard",
    "net",
    "http",
    "longpoll",
    "auth",
    "node",
    "loader",
    "swap",
    "admin",
    "tasks",
    "transport",
    "server",
    "testing",
    "bench",
    "fuzz",
    "cli",
];
pub(super) const FOLDERS_WHY: &str = "a folder is read and changed without those above it; what \
    two of them need goes into one below both";

/// Folders that still use one above them: who, whom, and what mends it.
pub(super) const UPWARD: &[(&str, &str, &str)] = &[];

/// Code that does no I/O, asks no clock and starts nothing.
pub(super) const PURE: &[&str] = &[
    "host/wire/src/",
    "host/auth/src/",
    "host/presence/src/",
    "host/session/src/",
    "host/pipeline/src/core/",
];

/// What pure code may not name, and what it does instead.
pub(super) const IMPURE: &[(&[&str], &str)] = &[
    (&["tokio"], "it returns what there is to do"),
    (&["Instant", "now"], "it is told the time"),
    (&["SystemTime"], "it is told the time"),
    (&["std", "fs"], "it is given what stands in files"),
    (&["std", "env"], "it is given its settings"),
    (&["std", "process"], "it is given what it needs"),
    (&["std", "thread"], "it runs on its caller's thread"),
    (&["TcpListener"], "of `std::net` it has the addresses alone"),
    (&["TcpStream"], "of `std::net` it has the addresses alone"),
    (&["UdpSocket"], "of `std::net` it has the addresses alone"),
];
pub(super) const PURE_RULE_WHY: &str = "the protocol, Presence and the pipelines' state machine \
    are tested as functions, in every order of events; that ends where one of them looks at the \
    world";

/// The number of lines that a file has at most.
pub(super) const FILE_LINES: usize = 400;
pub(super) const FILE_LINES_WHY: &str = "a file has one subject, which its reader keeps in mind";

/// Files that are still longer: the number of their lines at most, and why.
pub(super) const LONG_FILES: &[(&str, usize, &str)] = &[];

/// The number of lines that a function has at most, from `fn` to its last brace.
pub(super) const FUNCTION_LINES: usize = 70;
pub(super) const FUNCTION_LINES_WHY: &str = "a function fits on a screen";

/// Functions that are still longer: file, name, the number of their lines at most, and why.
pub(super) const LONG_FUNCTIONS: &[(&str, &str, usize, &str)] = &[
    (
        "host/server/src/swap/exchange.rs",
        "swap_to",
        72,
        "older than the rule, which counts comments too",
    ),
    ("tests/apps/slow/src/lib.rs", "handle_in", 77, "an arm for each event that tests send"),
];

pub(super) const MODULE_DOCS_WHY: &str = "whoever opens a file learns in a sentence what it is \
    for, before its code";

/// How doc comments begin that say nothing, by the number of words up to which they say
/// nothing. They lean on the name beside them or on an item elsewhere, and name no thing.
pub(super) const EMPTY_DOCS: &[(usize, &str)] = &[
    (2, "By, How, Its, The other, Their, These, What, When, Where, Whether, Whose"),
    (
        3,
        "All of, For, From, How often, If, In, It, Not, One of, Since, Some of, They, \
         To, Until, What gave, What gives, What goes, What happened, What happens, What \
         to, Which, Who, Whom, Why",
    ),
    (
        4,
        "As it, How it, How long each, How long it, How many are, How many came, How \
         many it, How many there, How many were, How much is, How much of, What came, \
         What is, What was, When it, Where it, Where they, Whose it, Whose they",
    ),
    (5, "So many, So much, That, The same, What it, What they"),
    (6, "Those"),
    (8, "Of"),
];
pub(super) const EMPTY_DOCS_WHY: &str = "a doc comment is read alone, in an editor or a list: it \
    has a noun, and says more than the name it stands at";

/// How many doc comments of a crate still say nothing.
pub(super) const EMPTY_DOCS_LEFT: &[(&str, usize)] =
    &[("host/server", 2), ("host/telemetry", 2), ("tests", 12)];

/// An identifier that the host's code does not use.
pub(super) struct Word {
    pub(super) word: &'static str,
    /// The identifier to use.
    pub(super) better: &'static str,
    /// The folder that the rule is for.
    pub(super) below: &'static str,
}

const fn word(word: &'static str, better: &'static str) -> Word {
    Word { word, better, below: "host/" }
}

const fn word_below(below: &'static str, word: &'static str, better: &'static str) -> Word {
    Word { word, better, below }
}

/// Words of our own, with those of the field.
pub(super) const WORDS: &[Word] = &[
    word("Account", "ConnectionQuota"),
    word("Aftermath", "Pending"),
    word("Asked", "AdminRequest"),
    word_below("host/pipeline/", "Broken", "DispatchError"),
    word("Called", "FinishedCall"),
    word("Calling", "CallContext"),
    word("Desk", "Harness"),
    word("Kept", "VersionStore"),
    word_below("host/session/", "Late", "Deferred"),
    word("Letter", "MailboxItem"),
    word("Memo", "HandleCache"),
    word("Nowhere", "NullSink"),
    word_below("host/server/", "Rest", "Unfinished"),
    word("Returned", "RoundResults"),
    word("Returns", "RoundResults"),
    word("Room", "InstanceLimit"),
    word_below("host/server/", "Run", "ChannelRun"),
    word("Seat", "InstancePermit or ConsumerHandle"),
    word("Serves", "HandlerKind"),
    word("Shared", "Node"),
    word("Stamp", "Monotonic"),
    word("StartedCall", "CallFuture"),
    word("Surroundings", "EffectSink"),
    word("Taken", "PooledInstance"),
    word("Teller", "StepReporter"),
    word("Turn", "CallPurpose"),
    word("Turns", "CpuScheduler"),
    word("Viewer", "SnapshotBuilder"),
    word("Wants", "Columns"),
    word("act", "run_actions"),
    word("bury", "dead_letter"),
    word("comes_back", "return_copy"),
    word("forsake", "drop_copy"),
    word("gathered", "batcher"),
    word("has_read", "note_read, or has_messages"),
    word("introduce", "resync"),
    word("judge", "apply_verdict"),
    word("offer_anew", "reoffer"),
    word("patience", "timeout"),
    word("renew", "requeue"),
    word("see_to", "deliver"),
    word("spare", "vec_pool"),
    word("traffic", "io_counters"),
    word("wall_ms", "unix_ms"),
    word("welcome", "subscribe_consumer"),
];
pub(super) const WORDS_WHY: &str = "names are the standard terms of Phoenix, GenStage, Wasm and \
    tokio; who knows those reads the code without a glossary";

/// How often a word is still there.
pub(super) const WORDS_LEFT: &[(&str, usize)] = &[];

/// The lints that each crate below `host/` denies outside tests.
pub(super) const DENIED: &[&str] = &[
    "clippy::expect_used",
    "clippy::indexing_slicing",
    "clippy::panic",
    "clippy::print_stdout",
    "clippy::unwrap_used",
];
pub(super) const DENIED_WHY: &str = "a panic ends more than the call that caused it, and what a \
    client or plugin sends must not reach one; the log has the terminal";

/// Files with `unsafe`.
pub(super) const UNSAFE: &[(&str, &str)] = &[
    ("host/server/src/node/memory.rs", "asks the allocator to give memory back"),
    ("host/server/src/net/paced.rs", "asks the kernel how much a socket has yet to send"),
    (
        "host/server/src/transport/sched_slice.rs",
        "reads and sets the scheduler's slice of a thread",
    ),
    ("host/wasm/src/cache.rs", "maps compiled code that this server wrote and sealed"),
    ("tests/apps/faulty/src/lib.rs", "a plugin that traps before it is asked anything"),
];
pub(super) const UNSAFE_WHY: &str = "the server runs code of others, so each place where the \
    compiler takes our word is known and has a reason";

/// Tests that have to be there, as no rule here replaces them: file, name, what it holds.
pub(super) const TESTS: &[(&str, &str, &str)] = &[
    (
        "host/telemetry/src/catalog.rs",
        "the_docs_have_the_table",
        "every metric stands in host/METRICS.md",
    ),
    (
        "host/server/src/config/page_tests.rs",
        "the_list_has_every_key",
        "every key stands in host/docs/configuration.md",
    ),
    (
        "host/server/src/config/page_tests.rs",
        "the_list_of_all_keys_is_a_configuration_with_every_default",
        "every default stands in host/docs/configuration.md",
    ),
];

/// The folders at the top, besides `target` and those that begin with a dot.
pub(super) const TOP: &[&str] = &["examples", "host", "plugins", "tests", "wit"];
pub(super) const TOP_WHY: &str = "who opens the repository sees what there is at one glance; what \
    is new has a place in one of these";
