//! What is heard of a process that lies, and of one that does not answer.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::process::{Broken, Process, Starter};
use super::screens::{NoPicture, Screens};
use crate::model::{SessionId, Timestamp};
use crate::rdp::control::{FromProcess, Refused, ToProcess};

const SOON: Duration = Duration::from_secs(10);

/// What is heard of a process that has written these bytes and is gone.
async fn heard(bytes: &[u8]) -> Vec<Result<FromProcess, Broken>> {
    let (mut process, mut theirs) = Process::played();
    theirs.write_all(bytes).await.unwrap();
    drop(theirs);
    let mut all = Vec::new();
    loop {
        let next = timeout(SOON, process.next()).await.unwrap();
        let over = next.is_err();
        all.push(next);
        if over {
            return all;
        }
    }
}

fn frame(said: &FromProcess) -> Vec<u8> {
    said.encode().unwrap().expose().clone()
}

#[tokio::test]
async fn a_frame_that_is_too_long_or_of_no_kind_is_the_last_that_is_heard() {
    let good = frame(&FromProcess::Checked { certificate: String::from("ab") });
    for bad in [[0xff; 5].to_vec(), [1, 0, 0, 0, 200, 0].to_vec(), [1, 0, 0, 0, 4, b'{'].to_vec()] {
        let all = heard(&[good.as_slice(), &bad, &good].concat()).await;
        assert!(matches!(all.as_slice(), [Ok(FromProcess::Checked { .. }), Err(Broken::Frame(_))]), "{bad:?}: {all:?}");
    }
}

#[tokio::test]
async fn a_process_that_dies_within_a_frame_or_without_a_word_is_gone() {
    let good = frame(&FromProcess::Record(vec![7; 100_000]));
    for cut in [0, 3, 5, good.len() - 1] {
        let all = heard(&good[..cut]).await;
        assert!(matches!(all.as_slice(), [Err(Broken::Gone)]), "{cut}: {all:?}");
    }
    assert!(matches!(heard(&good).await.as_slice(), [Ok(FromProcess::Record(_)), Err(Broken::Gone)]));
}

#[tokio::test]
async fn a_process_that_floods_is_read_no_faster_than_it_is_heard() {
    let (mut process, mut theirs) = Process::played();
    let record = frame(&FromProcess::Record(vec![1; 1 << 20]));
    let flooding = tokio::spawn(async move {
        let mut written = 0_u32;
        while timeout(Duration::from_millis(500), theirs.write_all(&record)).await.is_ok_and(|done| done.is_ok()) {
            written += 1;
        }
        written
    });
    let written = timeout(SOON, flooding).await.unwrap().unwrap();
    assert!(written <= 5, "{written} records of a megabyte were taken that nobody asked for");
    assert!(matches!(process.next().await, Ok(FromProcess::Record(_))));
}

#[tokio::test]
async fn a_process_that_takes_nothing_is_known_and_nobody_waits_for_it() {
    let (process, theirs) = Process::played();
    let end = || ToProcess::End(Refused { code: 1, why: "x".repeat(60_000) });
    let told = (0..10_000).take_while(|_| process.tell(end()).is_ok()).count();
    assert!(told < 200, "{told}");
    assert!(matches!(process.tell(ToProcess::Look), Err(Broken::Deaf)));
    drop(theirs);
}

#[test]
fn who_named_a_ticket_and_went_no_further_is_a_failed_login_and_who_named_none_is_nobodys() {
    assert_eq!(super::unfinished(None, "the handshake took too long"), None);
    let (login, reason) = super::unfinished(Some(String::from("t-7f3a")), &Broken::Gone.to_string()).unwrap();
    assert_eq!((login.as_str(), reason.as_str()), ("t-7f3a", "a desktop's ticket: the desktop's process is gone"));
}

#[tokio::test]
async fn a_process_that_is_killed_has_its_sockets_closed() {
    let (process, mut theirs) = Process::played();
    process.kill();
    let mut rest = Vec::new();
    timeout(SOON, theirs.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn a_real_process_that_is_no_desktop_goes_by_itself_and_leaves_no_zombie() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let mut process = Starter::new("/bin/false".into()).unwrap().start(client).await.unwrap();
    assert!(matches!(timeout(SOON, process.next()).await.unwrap(), Err(Broken::Gone)));
    timeout(SOON, process.end()).await.unwrap();
    // The user's socket went with it.
    let (mut served, _) = listener.accept().unwrap();
    assert_eq!(std::io::Read::read(&mut served, &mut [0; 1]).unwrap(), 0);
}

#[tokio::test]
async fn who_looks_at_what_is_no_desktop_or_draws_nothing_is_told_so() {
    let (screens, session) = (Screens::default(), SessionId::from_parts(Timestamp::from_millis(1), 1));
    assert_eq!(screens.look(&session).await, Err(NoPicture::NotLive));
    let mut shown = screens.show(&session);
    let answering = tokio::spawn(async move {
        shown.wanted.recv().await.unwrap().send(None).unwrap();
        shown.wanted.recv().await.unwrap().send(Some(vec![1])).unwrap();
        drop(shown);
    });
    assert_eq!(screens.look(&session).await, Err(NoPicture::Blank));
    assert_eq!(screens.look(&session).await, Ok(vec![1]));
    answering.await.unwrap();
    assert!(!screens.has(&session));
    assert_eq!(screens.look(&session).await, Err(NoPicture::NotLive));
}
