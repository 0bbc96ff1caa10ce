use super::*;

const PASSWORD: &str = "correct horse battery";
const LOCK_OUT: LockOut = LockOut { after: 3, span: Duration::from_secs(900) };

#[tokio::test]
async fn both_are_needed() {
    let desk = Desk::new();
    desk.check(PASSWORD, &desk.code(0)).await.unwrap();
    let next = desk.code(1);
    assert!(matches!(desk.check("wrong horse battery", &next).await, Err(PasswordError::Password)));
    assert!(matches!(desk.check(PASSWORD, "000000").await, Err(PasswordError::Code)));
    assert!(matches!(desk.check("wrong horse battery", "").await, Err(PasswordError::Password)));
    desk.clock.set(at(30));
    assert!(matches!(desk.check(PASSWORD, &next).await, Err(PasswordError::Locked { .. })));
}

#[tokio::test]
async fn t2_a_code_is_taken_once_and_that_is_on_disk_before() {
    let desk = Desk::new();
    let code = desk.code(0);
    desk.check(PASSWORD, &code).await.unwrap();
    assert!(matches!(desk.check(PASSWORD, &code).await, Err(PasswordError::CodeUsed)));
    // Whoever opens the database anew knows it too.
    let again = Desk { passwords: Passwords::open(&desk.db), ..desk };
    assert!(matches!(again.check(PASSWORD, &code).await, Err(PasswordError::CodeUsed)));
}

#[tokio::test]
async fn t2_of_two_who_show_one_code_at_once_one_gets_in() {
    let desk = Desk::new();
    let code = desk.code(0);
    let (one, other) = tokio::join!(desk.check(PASSWORD, &code), desk.check(PASSWORD, &code));
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|ok| **ok).count(), 1);
}

#[tokio::test]
async fn failures_lock_the_password_for_a_while() {
    let desk = Desk::new();
    for _ in 0..LOCK_OUT.after {
        assert!(matches!(desk.check("wrong horse battery", &desk.code(0)).await, Err(PasswordError::Password)));
    }
    let locked = |result| matches!(result, Err(PasswordError::Locked { until }) if until == at(900));
    assert!(locked(desk.check(PASSWORD, &desk.code(0)).await));
    // A restart forgives nothing, and what is tried meanwhile lengthens nothing.
    let desk = Desk { passwords: Passwords::open(&desk.db), ..desk };
    desk.clock.set(at(899));
    assert!(locked(desk.check(PASSWORD, &desk.code(0)).await));
    desk.clock.set(at(900));
    desk.check(PASSWORD, &desk.code(0)).await.unwrap();
}

#[tokio::test]
async fn a_client_without_anybody_at_it_locks_nobody_out() {
    let desk = Desk::new();
    for _ in 0..=LOCK_OUT.after {
        assert!(matches!(desk.check("", "").await, Err(PasswordError::Password)));
    }
    desk.check(PASSWORD, &desk.code(0)).await.unwrap();
}

#[tokio::test]
async fn a_login_forgives_failures_and_so_does_an_operator() {
    let desk = Desk::new();
    for step in 0..3 {
        desk.clock.set(at(step * 30));
        for _ in 1..LOCK_OUT.after {
            assert!(desk.check(PASSWORD, "000000").await.is_err());
        }
        desk.check(PASSWORD, &desk.code(0)).await.unwrap();
    }
    for _ in 0..LOCK_OUT.after {
        assert!(desk.check(PASSWORD, "000000").await.is_err());
    }
    desk.clock.set(at(120));
    assert!(matches!(desk.check(PASSWORD, &desk.code(0)).await, Err(PasswordError::Locked { .. })));
    desk.passwords.set_password(&alice(), &secret(PASSWORD)).unwrap();
    desk.check(PASSWORD, &desk.code(0)).await.unwrap();
}

#[tokio::test]
async fn who_has_no_password_is_judged_all_the_same() {
    let desk = Desk::new();
    let unknown = |user: Option<&str>| {
        let user = user.map(|user| UserName::parse(user).unwrap());
        desk.passwords.check(user, typed(PASSWORD, &desk.code(0)), LOCK_OUT, &desk.clock)
    };
    assert!(matches!(unknown(None).await, Err(PasswordError::NotSet)));
    assert!(matches!(unknown(Some("bob")).await, Err(PasswordError::NotSet)));
    // As much is computed: the time of one hash, not of none.
    let took = |user: Option<&'static str>| {
        let (desk, user) = (&desk, user.map(|user| UserName::parse(user).unwrap()));
        async move {
            let begun = desk.clock.instant();
            let _ = desk.passwords.check(user, typed("wrong horse battery", "000000"), LOCK_OUT, &desk.clock).await;
            begun.elapsed()
        }
    };
    let least = |times: [Duration; 3]| times.into_iter().min().unwrap();
    let known = least([took(Some("alice")).await, took(Some("alice")).await, took(Some("alice")).await]);
    let nobody = least([took(None).await, took(Some("bob")).await, took(None).await]);
    assert!(nobody > known / 4, "{nobody:?} for nobody, {known:?} for Alice");
    // A password without codes, or codes without a password, are none.
    desk.passwords.set_password(&UserName::parse("bob").unwrap(), &secret(PASSWORD)).unwrap();
    assert!(matches!(unknown(Some("bob")).await, Err(PasswordError::NotSet)));
}

#[tokio::test]
async fn two_are_computed_at_once_few_wait_and_the_others_are_refused() {
    let desk = Desk::new();
    let computing = desk.passwords.0.computing.acquire_many(2).await.unwrap();
    let waiting: Vec<_> = (0..WAITING_MAX)
        .map(|_| {
            let (passwords, clock) = (desk.passwords.clone(), desk.clock.clone());
            tokio::spawn(async move { passwords.check(None, typed("x", "y"), LOCK_OUT, &clock).await })
        })
        .collect();
    // Each takes its place before it waits: one turn for all of them is enough.
    for _ in 0..=WAITING_MAX {
        tokio::task::yield_now().await;
    }
    assert_eq!(desk.passwords.0.waiting.available_permits(), 0);
    assert!(matches!(desk.check(PASSWORD, &desk.code(0)).await, Err(PasswordError::Busy)));
    drop(computing);
    for one in waiting {
        assert!(matches!(one.await.unwrap(), Err(PasswordError::NotSet)));
    }
    desk.check(PASSWORD, &desk.code(0)).await.unwrap();
}

#[tokio::test]
async fn who_hangs_up_gives_no_place_back_before_the_hash_is_computed() {
    let desk = Desk::new();
    let given_up = timeout(Duration::from_millis(1), desk.check(PASSWORD, "000000")).await;
    assert!(given_up.is_err());
    assert_eq!(desk.passwords.0.computing.available_permits(), COMPUTING_MAX - 1);
}

#[test]
fn what_is_removed_is_gone() {
    let desk = Desk::new();
    assert!(desk.passwords.remove(&alice()).unwrap());
    assert!(!desk.passwords.remove(&alice()).unwrap());
    // A new password alone does not bring the codes back.
    assert!(!desk.passwords.set_password(&alice(), &secret(PASSWORD)).unwrap());
}

#[test]
fn nothing_of_it_shows() {
    let desk = Desk::new();
    let (_, stored) = desk.passwords.stored(Some(&alice())).unwrap().unwrap();
    let shown = format!("{stored:?} {:?} {:?}", desk.passwords, typed(PASSWORD, "123456"));
    assert!(!shown.contains(PASSWORD) && !shown.contains("123456"), "{shown}");
    assert!(!shown.contains(&stored.totp.as_ref().unwrap().secret), "{shown}");
    assert!(!shown.contains(&stored.password.as_ref().unwrap().hash), "{shown}");
    // Nor is the password itself kept.
    assert!(!serde_json::to_string(&stored).unwrap().contains(PASSWORD));
}

#[test]
fn passwords_that_are_too_short_or_too_long_are_not_set() {
    let desk = Desk::new();
    for unfit in ["", "elevenchars", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
        assert!(matches!(desk.passwords.set_password(&alice(), &secret(unfit)), Err(PasswordError::Unfit)));
    }
    assert!(desk.passwords.set_password(&alice(), &secret("twelve chars")).is_ok());
}

#[tokio::test]
async fn t2_a_code_alone_counts_once_here_and_at_the_login() {
    let desk = Desk::new();
    let code = desk.code(0);
    desk.code_alone(&code).unwrap();
    assert!(matches!(desk.code_alone(&code), Err(PasswordError::CodeUsed)));
    assert!(matches!(desk.check(PASSWORD, &code).await, Err(PasswordError::CodeUsed)));
    let next = desk.code(1);
    desk.check(PASSWORD, &next).await.unwrap();
    assert!(matches!(desk.code_alone(&next), Err(PasswordError::CodeUsed)));
    // Whoever opens the database anew knows it too.
    let again = Desk { passwords: Passwords::open(&desk.db), ..desk };
    assert!(matches!(again.code_alone(&next), Err(PasswordError::CodeUsed)));
}

#[tokio::test]
async fn wrong_codes_lock_out_as_wrong_passwords_do() {
    let desk = Desk::new();
    assert!(matches!(desk.check("wrong horse battery", &desk.code(0)).await, Err(PasswordError::Password)));
    for _ in 1..LOCK_OUT.after {
        assert!(matches!(desk.code_alone("000000"), Err(PasswordError::Code)));
    }
    assert!(matches!(desk.code_alone(&desk.code(0)), Err(PasswordError::Locked { .. })));
    assert!(matches!(desk.check(PASSWORD, &desk.code(0)).await, Err(PasswordError::Locked { .. })));
    desk.clock.set(at(900));
    desk.code_alone(&desk.code(0)).unwrap();
}

#[test]
fn codes_need_no_password() {
    let desk = Desk::new();
    let (bob, lock_out) = (UserName::parse("bob").unwrap(), LOCK_OUT);
    assert!(!desk.passwords.has_codes(&bob).unwrap());
    let judged = desk.passwords.check_code(&bob, &secret("000000"), lock_out, &desk.clock);
    assert!(matches!(judged, Err(PasswordError::NotSet)));
    assert!(!desk.passwords.set_totp(&bob).unwrap().1);
    assert!(desk.passwords.has_codes(&bob).unwrap());
    let (_, stored) = desk.passwords.stored(Some(&bob)).unwrap().unwrap();
    let own = STANDARD.decode(&stored.totp.as_ref().unwrap().secret).unwrap();
    let code = totp::code_at(&own, desk.clock.now().as_millis() / 30_000);
    desk.passwords.check_code(&bob, &secret(&code), lock_out, &desk.clock).unwrap();
}

/// Alice with a password and codes.
struct Desk {
    db: Db,
    passwords: Passwords,
    clock: Clock,
}

impl Desk {
    fn new() -> Self {
        let db = Db::in_memory().unwrap();
        let passwords = Passwords::open(&db);
        assert!(!passwords.set_password(&alice(), &secret(PASSWORD)).unwrap());
        let (uri, complete) = passwords.set_totp(&alice()).unwrap();
        assert!(complete && uri.expose().starts_with("otpauth://totp/Doorward:alice?secret="));
        Self { db, passwords, clock: Clock::fixed(at(0)) }
    }

    /// The code of now, or of some steps later.
    fn code(&self, steps: i64) -> String {
        let (_, stored) = self.passwords.stored(Some(&alice())).unwrap().unwrap();
        let secret = STANDARD.decode(&stored.totp.as_ref().unwrap().secret).unwrap();
        totp::code_at(&secret, self.clock.now().as_millis() / 30_000 + steps)
    }

    fn code_alone(&self, code: &str) -> Result<(), PasswordError> {
        self.passwords.check_code(&alice(), &secret(code), LOCK_OUT, &self.clock)
    }

    async fn check(&self, password: &str, code: &str) -> Result<(), PasswordError> {
        self.passwords.check(Some(alice()), typed(password, code), LOCK_OUT, &self.clock).await
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_000_000_020_000 + seconds * 1000)
}

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn typed(password: &str, code: &str) -> Typed {
    Typed { password: secret(password), code: secret(code) }
}
