//! Alerts to a collector of logs, as RFC 5424 has them: the text is the JSON that a webhook gets.
//!
//! What this module does **not** guard against: by UDP nobody learns that a datagram was lost, and by TCP only that the
//! collector is there and has closed in order (RFC 6587 has no acknowledgement). A webhook acknowledges each one.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Timestamp;

/// What a collector is waited for.
const CALL_MAX: Duration = Duration::from_secs(5);
/// A collector that does not close in this time has taken the message all the same.
const CLOSE_MAX: Duration = Duration::from_millis(300);
/// So many reads of what a collector answers, which it should not.
const ANSWERS_MAX: u8 = 16;
/// Facility 10, security and authorization (RFC 5424 section 6.2.1).
const FACILITY: u8 = 10;

/// Where a collector listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Syslog {
    /// `udp://HOST:PORT` (RFC 5426).
    Udp(String),
    /// `tcp://HOST:PORT` (RFC 6587, octet counting).
    Tcp(String),
    /// `unix:/dev/log`.
    Unix(PathBuf),
}

impl fmt::Display for Syslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(place) => write!(f, "udp://{place}"),
            Self::Tcp(place) => write!(f, "tcp://{place}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How bad it is (RFC 5424 section 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// Somebody should be woken.
    Critical,
    /// Somebody should look.
    Warning,
    /// It is odd.
    Notice,
}

impl Severity {
    fn number(self) -> u8 {
        match self {
            Self::Critical => 2,
            Self::Warning => 4,
            Self::Notice => 5,
        }
    }
}

/// A message, before it has its form.
pub(super) struct Line<'a> {
    pub severity: Severity,
    pub at: Timestamp,
    /// The bastion.
    pub node: &'a str,
    /// Such as `command.refused`.
    pub event: &'a str,
    pub text: &'a str,
}

impl Line<'_> {
    /// As it is sent (RFC 5424 section 6).
    fn shown(&self) -> String {
        let Self { severity, at, node, event, text } = self;
        let printable = |name: &str, most: usize| {
            let name: String = name.chars().filter(char::is_ascii_graphic).take(most).collect();
            if name.is_empty() { String::from("-") } else { name }
        };
        let priority = u16::from(FACILITY) * 8 + u16::from(severity.number());
        // A byte order mark says that the text is UTF-8 (section 6.4).
        format!(
            "<{priority}>1 {at} {} doorward {} {} - \u{feff}{text}",
            printable(node, 255),
            std::process::id(),
            printable(event, 32)
        )
    }
}

impl Syslog {
    /// Reads `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let place = |text: &str| {
            let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
            match port {
                Some(Ok(port)) if port > 0 => Ok(text.to_owned()),
                Some(_) | None => Err("is not of the form HOST:PORT"),
            }
        };
        if let Some(rest) = text.strip_prefix("udp://") {
            place(rest).map(Self::Udp)
        } else if let Some(rest) = text.strip_prefix("tcp://") {
            place(rest).map(Self::Tcp)
        } else if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            Ok(Self::Unix(PathBuf::from(path)))
        } else {
            Err("begins with neither udp://, tcp:// nor unix:/")
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// What went wrong; it is sent again then.
    pub(super) fn send(&self, line: &Line<'_>) -> Result<(), String> {
        let text = line.shown();
        let sent = match self {
            Self::Udp(place) => datagram(place, text.as_bytes()),
            Self::Tcp(place) => connect(place).and_then(|stream| {
                let close = || stream.shutdown(Shutdown::Write);
                counted(&stream, &text, close)
            }),
            Self::Unix(path) => {
                let socket = UnixDatagram::unbound().and_then(|socket| {
                    socket.set_write_timeout(Some(CALL_MAX))?;
                    socket.send_to(text.as_bytes(), path).map(drop)
                });
                match socket {
                    // It is a stream.
                    Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
                        UnixStream::connect(path).and_then(|stream| {
                            stream.set_write_timeout(Some(CALL_MAX))?;
                            stream.set_read_timeout(Some(CLOSE_MAX))?;
                            let close = || stream.shutdown(Shutdown::Write);
                            counted(&stream, &text, close)
                        })
                    }
                    sent => sent,
                }
            }
        };
        sent.map_err(|error| error.kind().to_string())
    }
}

fn datagram(place: &str, bytes: &[u8]) -> std::io::Result<()> {
    let address = place.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own)?;
    socket.set_write_timeout(Some(CALL_MAX))?;
    socket.connect(address)?;
    socket.send(bytes).map(drop)
}

fn connect(place: &str) -> std::io::Result<TcpStream> {
    let address = place.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    let stream = TcpStream::connect_timeout(&address, CALL_MAX)?;
    stream.set_write_timeout(Some(CALL_MAX))?;
    stream.set_read_timeout(Some(CLOSE_MAX))?;
    Ok(stream)
}

/// Writes a message with its length before it, and waits until the other end has closed: one that is killed with the
/// message unread resets the connection.
fn counted<S>(mut stream: S, text: &str, close: impl FnOnce() -> std::io::Result<()>) -> std::io::Result<()>
where
    S: Read + Write,
{
    stream.write_all(format!("{} {text}", text.len()).as_bytes())?;
    stream.flush()?;
    close()?;
    let mut answer = [0_u8; 64];
    // One that goes on answering has taken it, too: nobody reads that to its end.
    for _ in 0..ANSWERS_MAX {
        match stream.read(&mut answer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn line<'a>(text: &'a str) -> Line<'a> {
        let at = Timestamp::parse("2026-11-23T09:00:00Z").unwrap();
        Line { severity: Severity::Critical, at, node: "bastion 1", event: "command.refused", text }
    }

    fn whole() -> String {
        let process = std::process::id();
        format!("<82>1 2026-11-23T09:00:00Z bastion1 doorward {process} command.refused - \u{feff}{{\"a\":1}}")
    }

    #[test]
    fn a_message_has_the_form_of_the_rfc_by_each_way() {
        let text = whole();
        let shown = line("{\"a\":1}").shown();
        assert!(shown == text || shown.replace(".000Z", "Z") == text, "{shown}");
        let counted = format!("{} {shown}", shown.len());

        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let place = udp.local_addr().unwrap().to_string();
        Syslog::parse(&format!("udp://{place}")).unwrap().send(&line("{\"a\":1}")).unwrap();
        let mut bytes = [0_u8; 1024];
        let length = udp.recv(&mut bytes).unwrap();
        assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), shown);

        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = tcp.local_addr().unwrap().to_string();
        let taking = std::thread::spawn(move || {
            let mut text = String::new();
            tcp.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        Syslog::parse(&format!("tcp://{place}")).unwrap().send(&line("{\"a\":1}")).unwrap();
        assert_eq!(taking.join().unwrap(), counted);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let unix = Syslog::parse(&format!("unix:{}", path.display())).unwrap();
        unix.send(&line("{\"a\":1}")).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), shown);

        drop(socket);
        std::fs::remove_file(&path).unwrap();
        let stream = UnixListener::bind(&path).unwrap();
        let taking = std::thread::spawn(move || {
            let mut text = String::new();
            stream.accept().unwrap().0.read_to_string(&mut text).unwrap();
            text
        });
        unix.send(&line("{\"a\":1}")).unwrap();
        assert_eq!(taking.join().unwrap(), counted);
    }

    #[test]
    fn a_collector_that_is_away_or_dies_with_a_message_unread_has_not_taken_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let syslog = Syslog::Tcp(listener.local_addr().unwrap().to_string());
        // Closed with bytes unread, the connection is reset.
        let dying = std::thread::spawn(move || {
            let stream = listener.accept().unwrap().0;
            stream.peek(&mut [0_u8; 1]).unwrap();
            drop((stream, listener));
        });
        assert!(syslog.send(&line("x")).is_err());
        dying.join().unwrap();
        assert!(syslog.send(&line("x")).is_err(), "nobody listens");
        assert!(Syslog::Unix(PathBuf::from("/nonexistent/log")).send(&line("x")).is_err());
    }

    #[test]
    fn a_collector_that_never_stops_answering_holds_up_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let syslog = Syslog::Tcp(listener.local_addr().unwrap().to_string());
        let answering = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            while stream.write_all(b"and then ").is_ok() {}
        });
        syslog.send(&line("x")).unwrap();
        answering.join().unwrap();
    }

    #[test]
    fn only_whole_places_are_places() {
        for bad in
            ["udp://", "udp://host", "udp://:514", "udp://host:0", "tcp://host:70000", "unix:log", "host:514", ""]
        {
            assert!(Syslog::parse(bad).is_err(), "{bad}");
        }
        for good in ["udp://10.0.0.1:514", "tcp://[2001:db8::1]:601", "unix:/dev/log"] {
            assert_eq!(Syslog::parse(good).unwrap().to_string(), good);
        }
    }
}
