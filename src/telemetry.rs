//! Log lines to standard error. They are for operation, not for evidence: that goes to recordings and audit log.

use std::fmt;
use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Starts logging; once in a process.
///
/// The level holds for Doorward's own lines. Libraries say only warnings: at their lower levels the SSH library
/// would log what passes through a session.
///
/// # Errors
/// `AlreadySet` if something in this process has set a logger before.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), AlreadySet> {
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(EnvFilter::new(directives(level)));
    match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    }
    .map_err(|_| AlreadySet)
}

fn directives(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,doorward=info",
        LogLevel::Debug => "warn,doorward=debug",
        LogLevel::Trace => "warn,doorward=trace",
    }
}

/// Something in this process has set a logger before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadySet;

impl fmt::Display for AlreadySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("logging is already set up in this process")
    }
}

impl std::error::Error for AlreadySet {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_say_more_than_warnings() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            let first = directives(level).split(',').next();
            assert!(matches!(first, Some("warn" | "error")));
            assert!(EnvFilter::try_new(directives(level)).is_ok());
        }
    }
}
