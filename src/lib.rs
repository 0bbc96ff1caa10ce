//! Doorward: a bastion for privileged sessions over SSH and, on desktops, over RDP.
//!
//! It ends every session at itself, lets it through only while a rule and a grant hold, logs in to the target
//! with a credential that the bastion user never sees, and keeps a recording of what was shown.
//!
//! # The map
//!
//! A module may use only modules **above** it; `tests/it/layers.rs` checks that.
//!
//! ```text
//! model       names and ids, one newtype each                              LEAFS: use no module
//! secret      Secret<T>: Debug prints "<secret>", zeroed on drop
//! clock       Clock, the only source of wall and monotonic time
//! auditor     auditors' age keys
//! coverage    every SSH channel and request, and what becomes of it        DECIDING: no await, file,
//! document    TOML that a person wrote, read with all its faults           socket or clock; `now` and
//! pattern     what a part of a path, or a whole text, must match
//! window      hours of the week in a time zone
//! approvers   who says yes, and how many of them
//! gate        command line -> commands -> effects -> verdict; canonical text   bytes come in as arguments
//! screen      recorded bytes -> a screen that is safe to show
//! editor      bytes of a user -> lines and pages, and what their terminal is shown
//! guard       keys and output of a target's own shell -> the line that a held key would run
//! rdp         a desktop's messages: what passes, what is recorded, what it looks like
//! policy      text -> PolicySet; question -> Decision
//! grant       grants and policy -> Permit
//! cast        session event <-> asciicast line
//! trust       certificate authorities and revoked keys -> whether a certificate counts
//! agent       SSH agent messages: what a target may ask of a user's agent
//! tlog        a transparency log's hashes, proofs, notes; what a witness says
//! seal        lines -> sealed segments; scanning without a key; opening with it
//! durable     files that survive a power cut                               KEEPING: files and sled; no
//! home        the state directory: its lock and its identity               client or target socket
//! db          typed trees; the only file that names sled
//! store       recordings on disk: segments, recovery, reading
//! log         the transparency log on disk: journal, tiles, checkpoints
//! verify      whether recordings and log are what was recorded
//! audit       AuditEvent, appended to the log
//! ledger      stored users, targets, grants; asks grant
//! requests    access requests: judged by grant, on record in audit, kept by ledger
//! vault       sealed secrets; &Permit -> Credential
//! locks       locks: judged by grant, on record in audit, kept by ledger
//! backup      the state as a sealed file; copies of the store
//! authn       key or certificate against stored users -> Authenticated
//! wire        a socket that can be cut                                     CARRYING: sockets and tasks;
//! listener    accept, limits, handshake (asks authn)                       listener and target never
//! target      dial, check host key, log in                                 meet: relay sees two streams
//! http        calls to others' servers, bounded in time                    of channel events
//! witness     gets our checkpoints cosigned; cosigns those of other logs
//! notify      tells people of requests, and operators of outages, until they have taken it
//! recorder    bounded queue -> cast -> store; when no session can begin
//! relay       channel events both ways; taps all for the recorder
//! inspect     what stands between a channel's two sources and the relay; files on record
//! sftp        SFTP packets: judged, and on record before they go on
//! scp         the old protocol of scp: the same
//! rsync       rsync's streams: what they read or write is on record first; its file list, read along
//! desktop     the process of one RDP connection: both legs, and what passes between them
//! session     one session from accept to end: the story
//! config      RawConfig (serde) -> Config (checked)                        CONTROL: may start and end
//! telemetry   tracing set-up                                               sessions, never alters
//! admin       users, targets, grants, sessions, recordings                 their bytes
//! cli         one file per subcommand: parse, call, print
//! ```

pub mod auditor;
pub mod clock;
pub mod model;
pub mod secret;

pub mod agent;
pub mod approvers;
pub mod cast;
pub mod coverage;
pub mod document;
pub mod editor;
pub mod gate;
pub mod grant;
pub mod guard;
pub mod pattern;
pub mod policy;
pub mod rdp;
pub mod screen;
pub mod seal;
pub mod tlog;
pub mod trust;
pub mod window;

pub mod audit;
pub mod authn;
pub mod backup;
pub mod db;
pub mod durable;
pub mod home;
pub mod ledger;
pub mod locks;
pub mod log;
pub mod requests;
pub mod store;
pub mod vault;
pub mod verify;

pub mod desktop;
pub mod http;
pub mod inspect;
pub mod listener;
pub mod notify;
pub mod recorder;
pub mod relay;
pub mod rsync;
pub mod scp;
pub mod session;
pub mod sftp;
pub mod target;
pub mod wire;
pub mod witness;

pub mod admin;
pub mod cli;
pub mod config;
pub mod telemetry;
