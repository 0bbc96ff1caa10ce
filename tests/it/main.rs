//! Doorward against real OpenSSH: one file per story. `fixture` starts the programs and ends them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that stops at the first surprise, with its text, is what these are for"
)]

mod admin;
mod agent;
mod alarms;
mod algorithms;
mod answers;
mod audit;
mod auditing;
mod backup;
mod bypass;
mod clock;
mod commands;
mod compliance;
mod conditions;
mod coverage;
mod demo;
mod desk;
mod desk_index;
mod desk_logins;
mod desk_oversight;
mod desk_store;
mod desktop;
mod desktop_recorded;
mod edit;
mod ending;
mod exact;
mod faults;
mod fixture;
mod forward;
mod fuzz;
mod guard;
mod guard_faults;
mod hangs;
mod held;
mod held_faults;
mod hostile;
mod input;
mod interop;
mod jump;
mod layers;
mod locks;
mod logins;
mod menu;
mod menus;
mod names;
mod observed_pause;
mod oracles;
mod outages;
mod oversight;
mod overtaken;
mod paths;
mod policy_tools;
mod powercut;
mod privacy;
mod readers;
mod recordings;
mod refusals;
mod rehearsal;
mod reported;
mod requests;
mod retention;
mod rewrap;
mod rotation;
mod sftp;
mod shells;
mod signed;
mod strangers;
mod strict_shell;
mod tickets;
mod told;
mod transfer;
mod vendors;
mod verify;
mod ways;
mod witness;
mod x11;
