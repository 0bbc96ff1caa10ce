//! Which sessions or recordings are meant: `--user`, `--target`, `--since`.

use super::times;
use crate::admin::api::SessionFilter;
use crate::model::{TargetName, Timestamp, UserName};

/// The filters that listings of sessions and of recordings share.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterArguments {
    /// Only of this user.
    #[arg(long)]
    user: Option<UserName>,
    /// Only to this target.
    #[arg(long)]
    target: Option<TargetName>,
    /// Only those that started since: a time, a date, or a length of time until now, such as 24h.
    #[arg(long, value_name = "TIME", value_parser = times::parse_since)]
    since: Option<Timestamp>,
}

impl From<FilterArguments> for SessionFilter {
    fn from(arguments: FilterArguments) -> Self {
        let FilterArguments { user, target, since } = arguments;
        Self { user, target, since }
    }
}
