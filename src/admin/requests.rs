//! Access requests, for operators: to look, and to cancel. Approving is not theirs: an operator gives grants.

use super::api::{AccessRequestRow, Reply};
use super::{Admin, AdminError, Caller, done};
use crate::grant::AccessRequest;
use crate::model::{RequestId, Timestamp};

impl Admin {
    pub(super) fn request_list(&self, all: bool) -> Reply {
        let now = self.now();
        let owed = |request: &AccessRequest| request.glass.as_ref().is_some_and(|glass| glass.judged.is_none());
        let open = |request: &AccessRequest| all || !request.state(now).is_final() || owed(request);
        let mut requests = self.parts.ledger.requests_where(open);
        requests.sort_by(|a, b| (a.asked, &a.id).cmp(&(b.asked, &b.id)));
        Reply::AccessRequests { requests: requests.into_iter().map(|request| row(request, now)).collect() }
    }

    pub(super) fn request_show(&self, id: &RequestId) -> Result<Reply, AdminError> {
        let unknown = || AdminError::Request(crate::requests::RequestError::Unknown);
        let request = self.parts.ledger.request(id).ok_or_else(unknown)?;
        let told = self.parts.ledger.messages().into_iter().filter(|message| message.request == *id).collect();
        Ok(Reply::AccessRequest { request: Box::new(row(request, self.now())), told })
    }

    pub(super) fn request_cancel(&self, caller: Caller, id: &RequestId) -> Result<Reply, AdminError> {
        let request = self.parts.requests.cancel_any(&caller.to_string(), id).map_err(AdminError::Request)?;
        let of = format!("of {} to {}", request.requester, request.destination);
        Ok(done(format!("request `{id}` {of} cancelled"), Vec::new()))
    }
}

fn row(request: AccessRequest, now: Timestamp) -> AccessRequestRow {
    AccessRequestRow { state: request.state(now).word().to_owned(), request }
}
