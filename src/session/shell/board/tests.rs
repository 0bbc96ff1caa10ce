use super::*;
use crate::document::Faults;
use crate::gate::rules::CommandSet;
use crate::gate::verdict::{Asker, Governed, Ticket, judge};
use crate::model::{AccountName, RuleId, TargetName, Timestamp, UserName};
use crate::screen::{ENTER, Screen, Sheet};
use crate::session::menu::keys::Keys;
use std::collections::BTreeSet;
use std::sync::Arc;

const SET: &str = r#"
schema = 1
mode   = "menu"
[[menu]]
name  = "cache"
title = "Empty the page cache of one site"
run   = ["/usr/local/bin/purge", "--site={site}", "-d{depth:number}"]
site  = { pattern = "[a-z0-9-]{1,40}", help = "the site's short name" }
depth = { default = "1" }
[[menu]]
name      = "restart"
title     = "Restart a unit of the web tier"
run       = ["/usr/bin/systemctl", "restart", "{unit:nginx|php8-fpm|varnish}"]
effect    = "approve"
approvers = { group = "leads" }
reason    = "connections are dropped"
[[menu]]
name  = "uptime"
title = "Show how long it runs"
run   = ["/usr/bin/uptime"]
[[rule]]
id = "never"
effect = "deny"
program = "purge"
args = ["--site=shop"]
reason = "the shop is frozen"
"#;

fn set() -> Arc<CommandSet> {
    let mut faults = Faults::default();
    let set = CommandSet::read("m", "m.toml", SET, &mut faults);
    set.map(Arc::new).unwrap_or_else(|| panic!("{:?}", faults.into_sorted()))
}

pub(in crate::session::shell) fn entries() -> Vec<MenuEntry> {
    set().menus.clone()
}

fn judged(request: &MenuRequest) -> Judgement {
    let governed = [Governed {
        rule: RuleId::parse("access").unwrap(),
        commands: Some((crate::gate::verdict::CommandMode::Menu, vec![set()])),
    }];
    let asker = Asker {
        user: &UserName::parse("ana").unwrap(),
        groups: &BTreeSet::new(),
        target: &TargetName::parse("web1").unwrap(),
        labels: &BTreeMap::new(),
        account: &AccountName::parse("ops").unwrap(),
        ticket: Ticket::Of(None),
        at: Timestamp::from_millis(0),
    };
    judge(&request.line(), &governed, crate::gate::effects::Table::built_in(), &asker)
}

/// A user at a terminal of this size.
struct User {
    board: Board,
    sheet: Sheet,
    screen: Screen,
    size: Size,
    keys: Keys,
    ran: Vec<String>,
}

impl User {
    fn at(cols: u32, rows: u32) -> Self {
        let mut board = Board::new("ops@web1");
        board.set(entries());
        let size = Size::bounded(cols, rows);
        let mut screen = Screen::new(size);
        screen.feed(ENTER.as_bytes());
        let mut user = Self { board, sheet: Sheet::default(), screen, size, keys: Keys::default(), ran: Vec::new() };
        user.draw();
        user
    }

    fn draw(&mut self) {
        let frame = self.board.frame(self.size);
        assert_eq!(frame.rows.len(), self.size.rows);
        let mut out = String::new();
        self.sheet.draw(frame.rows, frame.cursor, &mut out);
        self.screen.feed(out.as_bytes());
    }

    /// Types, and sees what comes of it after each piece.
    fn types(&mut self, text: &str) -> &mut Self {
        let mut pressed = self.keys.feed(text.as_bytes());
        pressed.extend(self.keys.settle());
        for key in pressed {
            match self.board.press(key) {
                Act::Look(request) => {
                    let judgement = judged(&request);
                    self.board.look(request, &judgement, "");
                }
                Act::Run(request) => self.ran.push(request.line()),
                Act::Draw | Act::Load | Act::Leave => {}
            }
        }
        self.draw();
        self
    }

    #[track_caller]
    fn sees(&mut self, text: &str) -> &mut Self {
        let shown = self.screen.text();
        assert!(shown.iter().any(|row| row.contains(text)), "{text}:\n{}", shown.join("\n"));
        self
    }

    #[track_caller]
    fn sees_not(&mut self, text: &str) -> &mut Self {
        let shown = self.screen.text();
        assert!(!shown.iter().any(|row| row.contains(text)), "{text}:\n{}", shown.join("\n"));
        self
    }

    /// All that is on the screen as one text: what is wrapped is whole again.
    fn whole(&self) -> String {
        self.screen.text().concat()
    }
}

#[test]
fn an_entry_is_found_filled_in_looked_at_and_run() {
    for (cols, rows) in [(80, 24), (40, 10)] {
        let mut user = User::at(cols, rows);
        user.sees("cache").sees("restart").sees("3 entries");
        user.types("page").sees("1 of 3").sees("> cache").sees_not("uptime");
        user.types("\r").sees("> site:").sees("the site's short name");
        user.types("A").sees("not yet: ").types("\r").sees("site: it takes what matches").sees("> site: A");
        user.types("\x7fshop-2\r").sees("> depth: 1");
        user.types("0\r").sees("Last look  cache");
        assert!(user.whole().contains("'/usr/local/bin/purge' '--site=shop-2' '-d10'"), "{}", user.whole());
        assert_eq!(user.ran, Vec::<String>::new());
        user.types("\r");
        assert_eq!(user.ran, ["cache depth=10 site=shop-2"]);
        user.board.back();
        user.draw();
        user.sees("3 entries").sees("> cache").sees("uptime");
    }
}

#[test]
fn escape_goes_back_step_by_step_and_what_was_typed_stays() {
    let mut user = User::at(80, 24);
    user.types("\r").types("a\r").types("\r").sees("Last look");
    user.types("\x1b").sees("> depth: 1").types("\x1b").sees("> site: a").types("\x1b").sees("Search:");
    user.types("\r").sees("> site:").types("\x03").sees("Search:");
    assert!(user.ran.is_empty());
}

#[test]
fn choices_are_shown_and_chosen_by_the_arrows() {
    let mut user = User::at(80, 24);
    user.types("restart\r").sees("nginx  php8-fpm  varnish").sees("Up, Down choose");
    user.types("\x1b[B").sees("> unit: nginx").sees("[nginx]  php8-fpm");
    user.types("\x1b[A").sees("> unit: varnish").types("\x1b[B\x1b[B").sees("> unit: php8-fpm");
    user.types("\x15v\x1b[B").sees("> unit: varnish").types("\x15sshd\r").sees("one of nginx, php8-fpm, varnish");
    user.types("\x15nginx\r").sees("It waits for a yes of 1 of leads, at most 10m.").sees("connections are dropped");
    user.types("\r");
    assert_eq!(user.ran, ["restart unit=nginx"]);
}

#[test]
fn nothing_runs_before_its_last_look_was_on_the_screen() {
    // As much as anybody types ahead, or pastes.
    let mut user = User::at(80, 24);
    user.types("uptime\r\r\r\r").sees("Last look");
    assert!(user.ran.is_empty());
    user.types("\x1b[200~\r\n\x1b[201~");
    assert!(user.ran.is_empty());
    user.types("\r");
    assert_eq!(user.ran, ["uptime"]);
    // What does not fit is scrolled to its end first.
    let mut user = User::at(24, 6);
    let site = "a".repeat(40);
    user.types("cache\r").types(&format!("{site}\r")).types("\r").sees("PageDown");
    user.types("\r");
    assert!(user.ran.is_empty());
    user.types("\x1b[6~").types("\r");
    assert_eq!(user.ran, [format!("cache depth=1 site={site}")]);
}

#[test]
fn what_is_refused_says_why_and_does_not_run() {
    let mut user = User::at(80, 24);
    user.types("cache\r").types("shop\r").types("\r").sees("This does not run").sees("the shop is frozen");
    user.types("\r\r").sees("This does not run");
    assert!(user.ran.is_empty());
    user.types("\x1b").sees("> depth: 1");
}

#[test]
fn entries_that_change_keep_what_is_selected_and_no_size_breaks_it() {
    let mut user = User::at(80, 24);
    user.types("\x1b[B\x1b[B").sees("> uptime");
    let mut fewer = entries();
    fewer.remove(0);
    user.board.set(fewer);
    user.draw();
    user.sees("> uptime").sees("2 entries");
    user.board.set(Vec::new());
    user.draw();
    user.sees("No entry is open to you here now").types("\r").sees("0 entries");
    for (cols, rows) in [(1, 1), (10, 3), (24, 6), (500, 200)] {
        let mut user = User::at(cols, rows);
        user.types("cache\r").types("x\r").types("\r");
    }
    User::at(10, 3).sees("make the w");
}

#[test]
fn what_an_entry_says_steers_no_terminal() {
    let mut board = Board::new("ops@\u{1b}[2Jweb1");
    let mut odd = entries();
    odd[0].title = String::from("a\u{1b}]0;x\u{7}b");
    odd[0].parameters[0].help = Some(String::from("\u{1b}[31m"));
    board.set(odd);
    let mut all = board.frame(Size::bounded(80, 24)).rows.join("");
    board.press(Key::Enter);
    all.push_str(&board.frame(Size::bounded(80, 24)).rows.join(""));
    assert!(!all.replace("\x1b[7m", "").replace("\x1b[0m", "").contains('\x1b'), "{all:?}");
}
