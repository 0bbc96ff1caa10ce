use super::*;
use crate::policy::PolicySet;
use crate::secret::Secret;
use crate::tlog::Algorithm;

#[test]
fn the_starter_text_parses_to_the_defaults() {
    let config = Config::parse(Path::new("/etc/doorward/doorward.toml"), &starter()).unwrap();
    assert_eq!(config, defaults());
    assert_eq!(parse("").unwrap(), defaults());
}

#[test]
fn the_defaults_shown_as_comments_are_the_defaults() {
    let text: String = starter().lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
    assert!(text.contains("\nkeepalive_max = 3\n"));
    assert_eq!(parse(&text).unwrap(), defaults());
}

#[test]
fn the_starter_policies_are_all_of_the_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut files = read_policies(&directory).unwrap();
    // The effects table is part of the program.
    files.retain(|file| !file.path.starts_with("policies/effects/"));
    let starters: Vec<_> = STARTER_POLICIES
        .iter()
        .map(|(name, text)| PolicyFile { path: format!("policies/{name}"), text: (*text).to_owned() })
        .collect();
    assert_eq!(files, starters);
    assert_eq!(PolicySet::parse(&files).err(), None);
}

#[test]
fn quotes_in_a_starter_path_stay_quotes() {
    let text = Config::starter_text(&Starter { data: "a\"b\\c", ..Default::default() });
    assert_eq!(parse(&text).unwrap().data, Path::new("/etc/doorward/a\"b\\c"));
}

#[test]
fn values_are_read_and_paths_are_relative_to_the_file() {
    let text = "listen = ['127.0.0.1:22', '[::1]:22']\ndata = '/var/lib/doorward'\nmaster_key = '../key'\n\
                [ssh]\nlogin_grace = '1m'\nbanner = \"Hello\\n\"\nenv = []\nrekey_bytes = '16MiB'\n\
                [recording]\nreserve = 1048576\nretention = '400d'\n[admin]\noperators = [1000, 0]\nsocket = '/run/doorward.sock'\n\
                [log]\nformat = 'json'\nlevel = 'debug'\n";
    let config = parse(text).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:22".parse().unwrap(), "[::1]:22".parse().unwrap()]);
    assert_eq!(config.data, Path::new("/var/lib/doorward"));
    assert_eq!(config.master_key, Path::new("/etc/doorward/../key"));
    assert_eq!(config.ssh.login_grace, Duration::from_secs(60));
    assert_eq!(config.ssh.banner.as_deref(), Some("Hello\n"));
    assert_eq!(config.ssh.env, []);
    assert_eq!(config.ssh.rekey_bytes, 16 << 20);
    assert_eq!(config.recording.reserve, 1 << 20);
    assert_eq!(config.recording.retention, Some(Duration::from_secs(400 * 86_400)));
    assert_eq!(config.admin.operators, BTreeSet::from([0, 1000]));
    assert_eq!(config.admin.socket, Path::new("/run/doorward.sock"));
    assert_eq!(config.log, LogSettings { format: LogFormat::Json, level: LogLevel::Debug });
}

#[test]
fn every_fault_is_told_at_once_with_line_key_and_hint() {
    let text = "listen = 'localhost'\nlissten = 1\n[ssh]\nkeepalive = 'soon'\nkeepalive_max = 0\nenv = ['*']\n\
                [admin]\noperators = ['alice']\n[log]\nlevel = 'loud'\n";
    let faults = parse(text).unwrap_err();
    let shown: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let expected = [
        "/etc/doorward/doorward.toml:1: listen: \"localhost\" is not an address and port",
        "/etc/doorward/doorward.toml:2: lissten: unknown key",
        "/etc/doorward/doorward.toml:4: ssh.keepalive: \"soon\" is not a length of time",
        "/etc/doorward/doorward.toml:5: ssh.keepalive_max: out of range",
        "/etc/doorward/doorward.toml:6: ssh.env: \"*\" is not a variable's name",
        "/etc/doorward/doorward.toml:8: admin.operators: expected a whole number, found string",
        "/etc/doorward/doorward.toml:10: log.level: \"loud\" is not in this version; known: error, warn, info, debug, trace",
    ];
    assert_eq!(shown, expected);
    assert_eq!(faults[3].hint.as_deref(), Some("allowed: 1 to 100"));
}

#[test]
fn values_out_of_range_are_refused() {
    for bad in [
        "listen = []",
        "listen = ['0.0.0.0:1', '0.0.0.0:1']",
        "data = ''",
        "ssh = 3",
        "[ssh]\nlogin_grace = '0s'",
        "[ssh]\nlogin_grace = '-5s'",
        "[ssh]\nlogin_grace = 30",
        "[ssh]\nmax_channels = 4294967296",
        "[ssh]\nmax_channels = -1",
        "[ssh]\nrekey_bytes = '1KiB'",
        "[ssh]\nbanner = \"\\u001b[2J\"",
        "[ssh]\nenv = ['L*C']",
        "[recording]\nreserve = 0",
        // Nobody means minutes.
        "[recording]\nretention = '13m'",
        "[recording]\nretention = '0d'",
        "[recording]\nretention = '+1d'",
        "[recording]\nretention = '99999999999999999999d'",
        "[admin]\noperators = [4294967295]",
        "[admin]\nsocket = ''",
    ] {
        assert!(parse(bad).is_err(), "{bad} was taken");
    }
}

#[test]
fn a_master_key_inside_the_state_directory_is_refused() {
    for text in [
        "master_key = 'data/master.key'",
        "master_key = 'x/../data/./keys/master.key'",
        "master_key = 'data'",
        "data = '.'",
        "data = '/etc'",
    ] {
        let faults = parse(text).unwrap_err();
        assert!(faults[0].message.contains("lies inside `data`"), "{text}: {faults:?}");
    }
    assert!(parse("master_key = 'data-key/master.key'").is_ok());
}

#[test]
fn witnesses_are_read_and_every_fault_in_them_is_told() {
    let key = |name: &str, algorithm| {
        let name = crate::tlog::KeyName::parse(name).unwrap();
        crate::tlog::SigningKey::from_seed(name, algorithm, Secret::new([7; 32])).unwrap().public().to_string()
    };
    let (w1, w2) = (key("example.com/w1", Algorithm::Cosignature), key("example.com/w2", Algorithm::Cosignature));
    let good = format!(
        "[[witness]]\nurl = 'https://example.com/w/'\nkey = '{w1}'\n[[witness]]\nurl = 'http://10.0.0.9:8520'\nkey = '{w2}'\n"
    );
    let witnesses = parse(&good).unwrap().witnesses;
    let shown: Vec<_> = witnesses.iter().map(|one| (one.url().as_str(), one.key().to_string())).collect();
    assert_eq!(shown, [("https://example.com/w", w1.clone()), ("http://10.0.0.9:8520", w2)]);

    let log = key("example.com/log", Algorithm::Note);
    let bad = format!(
        "[[witness]]\nurl = 'ftp://x'\nkey = '{log}'\n[[witness]]\nkey = 'x+1+2'\nkeys = 1\n\
         [[witness]]\nurl = 'http://x'\nkey = '{log}'\n[[witness]]\nurl = 'http://x'\nkey = '{w1}'\n\
         [[witness]]\nurl = 'http://y'\nkey = '{w1}'\n"
    );
    let shown: Vec<String> = parse(&bad).unwrap_err().iter().map(ToString::to_string).collect();
    let at = "/etc/doorward/doorward.toml";
    let expected = [
        format!(
            "{at}:2: witness.url: \"ftp://x\" is no address of a witness: it begins with neither http:// nor https://"
        ),
        format!("{at}:4: witness: `url` is missing"),
        format!("{at}:5: witness.key: a key has the form name+id+base64"),
        format!("{at}:6: witness.keys: unknown key"),
        format!("{at}:9: witness.key: it is the key of a log, not of a witness"),
        format!("{at}:15: witness.key: the witness example.com/w1 stands twice"),
    ];
    assert_eq!(shown, expected);
    let many: String = (0..17)
        .map(|n| format!("[[witness]]\nurl = 'http://x'\nkey = '{}'\n", key(&format!("w{n}"), Algorithm::Cosignature)))
        .collect();
    assert!(parse(&many).unwrap_err()[0].message.contains("more than 16"));
    assert!(parse("witness = 'http://x'").is_err());
}

#[test]
fn a_link_does_not_hide_that_the_master_key_is_inside() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    std::os::unix::fs::symlink("data", directory.path().join("keys")).unwrap();
    let file = directory.path().join("doorward.toml");
    let faults = Config::parse(&file, "master_key = 'keys/master.key'").unwrap_err();
    assert!(faults[0].message.contains("lies inside `data`"));
}

#[test]
fn a_socket_path_that_is_too_long_is_refused() {
    let faults = parse(&format!("data = '/{}'", "d".repeat(100))).unwrap_err();
    assert_eq!(faults[0].key, "admin.socket");
}

#[test]
fn operators_need_a_socket_that_they_can_reach() {
    let faults = parse("[admin]\noperators = [1000]").unwrap_err();
    assert_eq!(faults[0].key, "admin.operators");
    assert!(parse("[admin]\noperators = [1000]\nsocket = '/run/doorward/admin.sock'").is_ok());
}

#[test]
fn a_configuration_that_others_can_write_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("doorward.toml");
    crate::durable::replace(&file, Config::starter_text(&Starter::default()).as_bytes(), 0o600).unwrap();
    for (mode, good) in [(0o644, true), (0o664, false), (0o646, false), (0o600, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Config::load(&file).is_ok(), good, "{mode:o}");
    }
}

#[test]
fn a_missing_configuration_says_how_to_make_one() {
    let faults = Config::load(Path::new("/nonexistent/doorward.toml")).unwrap_err();
    assert!(faults[0].to_string().starts_with("/nonexistent/doorward.toml: cannot be read: "));
    assert!(faults[0].hint.as_deref().unwrap().contains("doorward init"));
}

#[test]
fn policies_are_read_in_order_and_what_is_not_one_is_passed_over_or_told() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("rules");
    assert!(read_policies(&root).is_err(), "a missing directory was taken for an empty one");
    let access = root.join("access");
    crate::durable::create_directories(&access).unwrap();
    for name in ["b.toml", "a.toml", ".hidden.toml", "README.md"] {
        crate::durable::create_new(&access.join(name), b"schema = 1\n", 0o600).unwrap();
    }
    let paths: Vec<_> = read_policies(&root).unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["rules/access/a.toml", "rules/access/b.toml"]);
    for name in ["manifest", "manifest.bob.sig", "README.md", ".git"] {
        crate::durable::create_new(&root.join(name), b"x\n", 0o600).unwrap();
    }
    assert_eq!(read_policies(&root).unwrap().len(), 2);
    crate::durable::create_directories(&root.join("comands")).unwrap();
    crate::durable::create_new(&root.join("dba.toml"), b"schema = 1\n", 0o600).unwrap();
    crate::durable::create_new(&access.join("dba.tml"), b"schema = 1\n", 0o600).unwrap();
    let strays: Vec<_> = read_policies(&root).unwrap_err().into_iter().map(|fault| fault.to_string()).collect();
    for (told, end) in strays.iter().zip([
        "rules/comands: is a directory in which no policies are looked for",
        "rules/dba.toml: is a file in which no policies are looked for",
        "rules/access/dba.tml: is no file of policies by its name",
    ]) {
        assert!(told.ends_with(end), "{told}");
    }
    assert_eq!(strays.len(), 3);
    std::fs::remove_dir(root.join("comands")).unwrap();
    std::fs::remove_file(root.join("dba.toml")).unwrap();
    std::fs::remove_file(access.join("dba.tml")).unwrap();
    crate::durable::create_new(&access.join("c.toml"), b"\xff\n", 0o600).unwrap();
    crate::durable::create_directories(&access.join("more")).unwrap();
    let faults = read_policies(&root).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert!(faults[0].to_string().ends_with("c.toml: is not UTF-8 text"));
}

#[test]
fn a_variable_passes_by_its_name_or_the_beginning_of_it() {
    let patterns = SshSettings::default().env;
    let passes = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    assert!(passes("LANG") && passes("LC_ALL"));
    assert!(!passes("LANGUAGE") && !passes("LD_PRELOAD") && !passes("xLC_ALL"));
}

fn starter() -> String {
    Config::starter_text(&Starter::default())
}

fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    Config::parse(Path::new("/etc/doorward/doorward.toml"), text)
}

fn defaults() -> Config {
    let at = |name: &str| Path::new("/etc/doorward").join(name);
    Config {
        login: LoginSettings::default(),
        file: at("doorward.toml"),
        listen: vec!["0.0.0.0:2222".parse().unwrap()],
        data: at("data"),
        policies: at("policies"),
        master_key: at("master.key"),
        signing: None,
        ssh: SshSettings::default(),
        target: TargetSettings::default(),
        recording: RecordingSettings::default(),
        admin: AdminSettings { operators: BTreeSet::new(), socket: at("data/admin.sock") },
        log: LogSettings::default(),
        witnesses: Vec::new(),
        notify: NotifySettings::default(),
        ticket_check: None,
        backup: None,
        rdp: None,
    }
}

#[test]
fn only_a_missing_configuration_is_to_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let hint = |path: &Path| Config::load(path).unwrap_err()[0].hint.clone().unwrap();
    assert!(hint(&folder.path().join("doorward.toml")).contains("doorward init"));
    // A directory is there and cannot be read as a file.
    assert!(!hint(folder.path()).contains("doorward init"));
}

#[test]
fn a_webhook_with_a_token_of_its_own_gets_that_alone() {
    let parsed = |notify: &str| parse(&starter().replacen("[notify]\n", &format!("[notify]\n{notify}\n"), 1));
    let config = parsed(
        "webhook_token = \"common\"\nwebhooks = [\"https://a.example/\", { url = \"https://b.example/\", token = \"own\" }, \
         { url = \"https://c.example/\" }]",
    );
    let tokens: Vec<Option<PathBuf>> = config.unwrap().notify.webhooks.into_iter().map(|hook| hook.token).collect();
    let at = |name: &str| Some(PathBuf::from("/etc/doorward").join(name));
    assert_eq!(tokens, [at("common"), at("own"), None]);
    let faults =
        parsed("webhooks = [{ url = \"https://b.example/\", tokn = \"own\" }, { token = \"x\" }]").unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn a_daily_backup_says_where_and_for_whom_and_lies_outside_of_the_data() {
    let recipient = crate::auditor::Identity::generate().recipient();
    let parsed = |lines: &str| parse(&format!("{}\n[backup]\n{lines}\n", starter()));
    let whole = parsed(&format!("to = \"kept\"\nrecipients = [\"{recipient}\"]")).unwrap();
    let expected = BackupSettings {
        to: PathBuf::from("/etc/doorward/kept"),
        recipients: vec![recipient.clone()],
        at_minute: 120,
        keep: 14,
        prune: false,
    };
    assert_eq!(whole.backup, Some(expected));
    let at = |at: &str| parsed(&format!("to = \"/b\"\nrecipients = [\"{recipient}\"]\nat = {at:?}"));
    assert_eq!(at("23:59").unwrap().backup.unwrap().at_minute, 23 * 60 + 59);
    for wrong in ["24:00", "23:60", "2:00", "02", "0200", "+2:00", "02:00:00"] {
        assert_eq!(at(wrong).unwrap_err().len(), 1, "{wrong}");
    }
    let faults = parsed("to = \"data/backup\"\nrecipients = []\nkeep = 0\ndays = 3").unwrap_err();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert_eq!(parsed("").unwrap_err().len(), 2, "neither where nor for whom");
}

#[test]
fn a_pipe_among_the_policies_is_a_fault_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let access = dir.path().join("access");
    std::fs::create_dir_all(&access).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, access.join("x.toml"), rustix::fs::Mode::RUSR).unwrap();
    let faults = read_policies(dir.path()).unwrap_err();
    assert!(matches!(&*faults, [fault] if fault.to_string().contains("no regular file")), "{faults:?}");
}
