//! What people do all day: files by SFTP, many commands on one connection, the facts of many machines by Ansible.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::Scale;
use crate::fixture::process::run;
use crate::fixture::{Route, Sshd, scratch};
use crate::lanes::{Kept, Lane, Lanes};
use crate::measures::{DOORWARD, Figures, interleaved, medians, mib_per_second};
use crate::report::Report;

/// No single transfer takes longer, unless it hangs.
const HANG: Duration = Duration::from_secs(600);
/// Rounds of what takes longest.
const ROUNDS: usize = 3;

/// One large file, and many small ones, there and back, with the connection's set-up.
pub fn sftp(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    let size = scale.bulk * 4;
    let here = scratch();
    let (large, small) = (here.path().join("large"), here.path().join("small"));
    std::fs::File::create(&large).unwrap().set_len(size).unwrap();
    std::fs::create_dir(&small).unwrap();
    for number in 0..scale.files {
        std::fs::write(small.join(format!("file-{number}")), vec![b'x'; 1024]).unwrap();
    }
    let shown = size >> 20;
    let mut row = |name: String, unit, figures: &Figures| report.row(name, unit, &medians(figures), &DOORWARD, &[]);
    let put = interleaved(lanes, ROUNDS, |lane| {
        let took = transfer(
            &lanes.route(lane, Kept::Full, &[]),
            &format!("put {} {}/up", large.display(), here.path().display()),
        );
        assert_eq!(std::fs::metadata(here.path().join("up")).unwrap().len(), size);
        mib_per_second(size, took)
    });
    row(format!("sftp put of {shown} MiB"), "MiB/s", &put);
    let get = interleaved(lanes, ROUNDS, |lane| {
        let took = transfer(
            &lanes.route(lane, Kept::Full, &[]),
            &format!("get {} {}/up", large.display(), here.path().display()),
        );
        mib_per_second(size, took)
    });
    row(format!("sftp get of {shown} MiB"), "MiB/s", &get);
    for way in ["put", "get"] {
        let figures = interleaved(lanes, ROUNDS, |lane| {
            let there = here.path().join("many");
            let _ = std::fs::remove_dir_all(&there);
            let line = format!("{way} -r {} {}", small.display(), there.display());
            let took = transfer(&lanes.route(lane, Kept::Full, &[]), &line);
            assert_eq!(std::fs::read_dir(&there).unwrap().count(), scale.files, "{line}");
            took.as_secs_f64() * 1e3
        });
        row(format!("sftp {way} of {} files", scale.files), "ms", &figures);
    }
}

/// The time that `sftp` takes for one line of a batch.
fn transfer(route: &Route, line: &str) -> Duration {
    let start = Instant::now();
    run(route.copier("sftp", &["-q", "-b", "/dev/stdin", "{}"]), format!("{line}\n").as_bytes(), HANG).ok();
    start.elapsed()
}

/// A hundred commands on one connection (`ControlMaster`), one after the other, and sixteen at a time.
pub fn shared(lanes: &Lanes, _scale: &Scale, report: &mut Report) {
    const COMMANDS: u32 = 100;
    let folder = scratch();
    let masters: Vec<_> =
        lanes.names().iter().map(|lane| (*lane, lanes.route(*lane, Kept::Full, &[]).master(folder.path()))).collect();
    for at_once in [1, 16] {
        let figures = interleaved(lanes, ROUNDS, |lane| {
            let (_, master) = masters.iter().find(|(of, _)| *of == lane).unwrap();
            let left = Mutex::new(COMMANDS);
            let start = Instant::now();
            std::thread::scope(|scope| {
                for _ in 0..at_once {
                    scope.spawn(|| {
                        while take(&left) {
                            assert_eq!(master.route.run("echo done").out(), "done\n");
                        }
                    });
                }
            });
            start.elapsed().as_secs_f64() * 1e3 / f64::from(COMMANDS)
        });
        let name = format!("a command of {COMMANDS} on one connection, {at_once} at once");
        report.row(name, "ms", &medians(&figures), &DOORWARD, &[]);
    }
}

/// Takes one of what is left.
fn take(left: &Mutex<u32>) -> bool {
    let mut left = left.lock().unwrap();
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// The facts of many machines, as Ansible gathers them when it is set up as it comes: one connection for each, kept open.
pub fn ansible(lanes: &Lanes, scale: &Scale, report: &mut Report) {
    if !crate::fixture::has("ansible") {
        println!("left out: the facts by Ansible; `apt-get install ansible-core` has it");
        return;
    }
    let folder = scratch();
    let machines: Vec<Sshd> = (0..scale.machines).map(|_| Sshd::start()).collect();
    let mut inventories = Vec::new();
    for lane in lanes.names() {
        let rows: Vec<String> =
            machines.iter().enumerate().map(|(number, sshd)| host(lanes, *lane, number, sshd)).collect();
        let file = folder.path().join(lane.name());
        std::fs::write(&file, rows.join("\n") + "\n").unwrap();
        inventories.push((*lane, file));
    }
    let figures = interleaved(lanes, if scale.machines < 20 { 1 } else { ROUNDS }, |lane| {
        let (_, inventory) = inventories.iter().find(|(of, _)| *of == lane).unwrap();
        let start = Instant::now();
        let told = run(setup(inventory, folder.path()), b"", HANG);
        let took = start.elapsed();
        assert_eq!(told.out().matches("| SUCCESS").count(), scale.machines, "{told:?}");
        took.as_secs_f64()
    });
    report.row(format!("Ansible facts of {} machines", scale.machines), "s", &medians(&figures), &DOORWARD, &[]);
}

/// One line of an inventory: `ssh` takes the lane to this machine.
fn host(lanes: &Lanes, lane: Lane, number: usize, sshd: &Sshd) -> String {
    let route = lanes.route_to(lane, number, sshd);
    let options: Vec<String> = route.options.chunks(2).filter_map(|pair| pair.get(1).cloned()).collect();
    let options: String = options.iter().map(|option| format!(" -o '{option}'")).collect();
    format!(
        "m{number} ansible_host=127.0.0.1 ansible_port={} ansible_user={} ansible_ssh_private_key_file={} \
         ansible_ssh_extra_args=\"-F none -o IdentitiesOnly=yes -o IdentityAgent=none -o UserKnownHostsFile=/dev/null \
         -o StrictHostKeyChecking=no{options}\"",
        route.port,
        route.login,
        route.key.display()
    )
}

fn setup(inventory: &Path, folder: &Path) -> Command {
    let mut ansible = Command::new("ansible");
    ansible.args(["all", "-f", "20", "-m", "setup", "-i"]).arg(inventory);
    for (name, value) in [
        ("ANSIBLE_HOST_KEY_CHECKING", "False"),
        ("ANSIBLE_NOCOLOR", "1"),
        ("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3"),
        ("ANSIBLE_REMOTE_TEMP", "/tmp/.ansible-bench"),
        // Gone before the next round, which sets its own connections up.
        ("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=1s"),
    ] {
        ansible.env(name, value);
    }
    ansible.env("ANSIBLE_HOME", folder.join("a")).env("ANSIBLE_LOCAL_TEMP", folder.join("l"));
    ansible
}
