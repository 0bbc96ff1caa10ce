//! Whole messages out of a stream of bytes, and the head of those that carry a channel's data (T.125 section 7).
//!
//! The relay looks at no more than this of most messages: where one ends, on which channel it is, and what it carries.

use std::fmt;

use super::fields::Fields;

/// The channel of everything but virtual channels, as the user's program and the recording know it.
pub const IO_CHANNEL: u16 = 1003;

/// Bytes that are not what they must be here. What was malformed is named, and never what it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// How a message is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A TPKT (RFC 1006) with X.224 in it.
    Tpkt,
    /// Fast path (MS-RDPBCGR sections 2.2.8.1.2 and 2.2.9.1.2).
    FastPath,
}

/// The framing and the whole length of the message that begins with these bytes; `None` if they are too few to say.
///
/// # Errors
/// If no message begins like this.
pub fn extent(start: &[u8]) -> Result<Option<(Framing, usize)>, Malformed> {
    let mut fields = Fields::new(start);
    let Some(first) = fields.byte() else { return Ok(None) };
    if first == 3 {
        let Some([_, high, low]) = fields.take(3) else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        // A TPKT has a head of four bytes, and the least X.224 message three.
        return if length < 7 { Err(Malformed("TPKT length")) } else { Ok(Some((Framing::Tpkt, length))) };
    }
    if first & 3 != 0 {
        return Err(Malformed("first byte of a message"));
    }
    let Some(high) = fields.byte() else { return Ok(None) };
    let (length, head) = if high & 0x80 == 0 {
        (usize::from(high), 2)
    } else {
        let Some(low) = fields.byte() else { return Ok(None) };
        (usize::from(u16::from_be_bytes([high & 0x7f, low])), 3)
    };
    if length <= head { Err(Malformed("fast-path length")) } else { Ok(Some((Framing::FastPath, length))) }
}

/// Whether a fast-path message says that it is encrypted or signed, which inside TLS none is.
pub fn is_encrypted(fast_path: &[u8]) -> bool {
    fast_path.first().is_none_or(|first| first & 0xc0 != 0)
}

/// The whole length of a message of CredSSP (a DER sequence); `None` if these bytes are too few to say.
///
/// # Errors
/// If they begin none, or one that is longer than any needs to be.
pub fn credssp_extent(start: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut fields = Fields::new(start);
    let (Some(tag), Some(first)) = (fields.byte(), fields.byte()) else {
        return if start.first().is_none_or(|tag| *tag == 0x30) { Ok(None) } else { Err(Malformed("CredSSP")) };
    };
    if tag != 0x30 {
        return Err(Malformed("CredSSP"));
    }
    let length = match first {
        0..0x80 => Some(usize::from(first).saturating_add(2)),
        0x81 => fields.byte().map(|length| usize::from(length).saturating_add(3)),
        0x82 => fields
            .take(2)
            .and_then(|bytes| bytes.first_chunk::<2>())
            .map(|length| usize::from(u16::from_be_bytes(*length)).saturating_add(4)),
        0x80 | 0x83.. => return Err(Malformed("CredSSP length")),
    };
    Ok(length)
}

/// Who sends a message with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To a target: a Send Data Request.
    Request,
    /// To a user's program: a Send Data Indication.
    Indication,
}

/// An MCS message, as far as the relay looks into it.
#[derive(Debug, PartialEq, Eq)]
pub enum Mcs<'a> {
    /// Data of a channel.
    Data {
        /// The channel.
        channel: u16,
        /// What it carries.
        data: &'a [u8],
    },
    /// The other side goes.
    Disconnect,
    /// Anything else, by its number.
    Other(u8),
}

const X224_DATA: [u8; 3] = [2, 0xf0, 0x80];
const SEND_DATA_REQUEST: u8 = 25;
const SEND_DATA_INDICATION: u8 = 26;
const DISCONNECT_PROVIDER_ULTIMATUM: u8 = 8;
/// High priority, and a message that is whole: the one form that RDP uses (MS-RDPBCGR section 2.2.8.1).
const WHOLE: u8 = 0x70;

/// Reads the MCS head of a TPKT that came this way.
///
/// # Errors
/// If it is no X.224 data, or its lengths do not agree.
pub fn mcs(tpkt: &[u8], way: Way) -> Result<Mcs<'_>, Malformed> {
    let bad = Malformed("MCS message");
    let mut fields = Fields::new(tpkt);
    let _head = fields.take(4).ok_or(bad)?;
    if fields.take(3).ok_or(bad)? != X224_DATA {
        return Err(Malformed("X.224 data"));
    }
    let choice = fields.byte().ok_or(bad)? >> 2;
    let expected = match way {
        Way::Request => SEND_DATA_REQUEST,
        Way::Indication => SEND_DATA_INDICATION,
    };
    if choice == DISCONNECT_PROVIDER_ULTIMATUM {
        return Ok(Mcs::Disconnect);
    }
    if choice != expected {
        return Ok(Mcs::Other(choice));
    }
    let _initiator = fields.take(2).ok_or(bad)?;
    let channel = fields.take(2).and_then(|bytes| bytes.first_chunk::<2>()).ok_or(bad)?;
    let segmentation = fields.byte().ok_or(bad)?;
    let length = per_length(&mut fields).ok_or(bad)?;
    let data = fields.rest();
    // A message in several segments would be judged in pieces; no peer sends one.
    if segmentation & 0x30 != 0x30 || data.len() != length {
        return Err(bad);
    }
    Ok(Mcs::Data { channel: u16::from_be_bytes(*channel), data })
}

/// A length as RDP's peers write it: in 7 bits, or in 15. Aligned PER would begin fragments with 0xc0; none of them do.
fn per_length(fields: &mut Fields<'_>) -> Option<usize> {
    let first = fields.byte()?;
    match first {
        0..0x80 => Some(first.into()),
        0x80.. => Some(usize::from(u16::from_be_bytes([first & 0x7f, fields.byte()?]))),
    }
}

/// The most bytes of data that one message carries.
pub const DATA_BYTES_MAX: usize = 0x7fff;

/// A whole TPKT that carries data.
///
/// # Errors
/// If it is more than one message carries.
pub fn send_data(way: Way, user: u16, channel: u16, data: &[u8]) -> Result<Vec<u8>, Malformed> {
    let too_long = Malformed("length of data to be sent");
    let length = u16::try_from(data.len()).ok().filter(|_| data.len() <= DATA_BYTES_MAX).ok_or(too_long)?;
    let choice = match way {
        Way::Request => SEND_DATA_REQUEST << 2,
        Way::Indication => SEND_DATA_INDICATION << 2,
    };
    let mut body = Vec::with_capacity(data.len().saturating_add(16));
    body.extend_from_slice(&X224_DATA);
    body.push(choice);
    // A user's number is written less the first that there is (T.125: UserId).
    body.extend_from_slice(&user.saturating_sub(1001).to_be_bytes());
    body.extend_from_slice(&channel.to_be_bytes());
    body.push(WHOLE);
    if length < 0x80 {
        body.extend(u8::try_from(length));
    } else {
        body.extend_from_slice(&(0x8000 | length).to_be_bytes());
    }
    body.extend_from_slice(data);
    tpkt(&body)
}

/// Bytes with the head of a TPKT before them.
fn tpkt(body: &[u8]) -> Result<Vec<u8>, Malformed> {
    let length = u16::try_from(body.len().saturating_add(4)).map_err(|_| Malformed("length of a TPKT"))?;
    let [high, low] = length.to_be_bytes();
    let mut whole = vec![3, 0, high, low];
    whole.extend_from_slice(body);
    Ok(whole)
}

/// Why an MCS domain ends (T.125: Reason).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// The bastion ends it. Programs show the error that was told before.
    Provider,
    /// The user went.
    User,
}

/// The MCS Disconnect Provider Ultimatum (MS-RDPBCGR section 2.2.2.3).
pub fn disconnect(leaving: Leaving) -> Vec<u8> {
    let reason = match leaving {
        Leaving::Provider => 1u8,
        Leaving::User => 3u8,
    };
    let [a, b, c] = X224_DATA;
    vec![3, 0, 0, 9, a, b, c, (DISCONNECT_PROVIDER_ULTIMATUM << 2) | (reason >> 1), reason << 7]
}

/// The Set Error Info PDU (MS-RDPBCGR section 2.2.5.1) for a user's program, as data of the I/O channel.
pub fn error_info(code: u32) -> Vec<u8> {
    let mut data = Vec::with_capacity(22);
    data.extend_from_slice(&[22, 0, 0x17, 0, 0xea, 3]);
    data.extend_from_slice(&0x0001_03ea_u32.to_le_bytes());
    data.extend_from_slice(&[0, 1, 8, 0, 0x2f, 0, 0, 0]);
    data.extend_from_slice(&code.to_le_bytes());
    data
}

#[cfg(test)]
mod tests {
    use ironrdp_pdu::mcs::{DisconnectReason, McsMessage};
    use ironrdp_pdu::rdp::headers::{ShareControlHeader, ShareControlPdu, ShareDataPdu};
    use ironrdp_pdu::rdp::server_error_info::{ErrorInfo, ProtocolIndependentCode};
    use ironrdp_pdu::x224::X224;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_extent_of_a_message_is_known_from_its_first_bytes() {
        assert_eq!(extent(&[3, 0, 1]), Ok(None));
        assert_eq!(extent(&[3, 0, 1, 2]), Ok(Some((Framing::Tpkt, 258))));
        assert_eq!(extent(&[0, 0x81, 5]), Ok(Some((Framing::FastPath, 261))));
        assert_eq!(extent(&[4, 9]), Ok(Some((Framing::FastPath, 9))));
        assert!(extent(&[3, 0, 0, 6]).is_err() && extent(&[0, 2]).is_err() && extent(&[1]).is_err());
        assert_eq!(credssp_extent(&[0x30, 0x82, 1, 0]), Ok(Some(260)));
        assert_eq!(credssp_extent(&[0x30, 0x82, 1]), Ok(None));
        assert!(credssp_extent(&[0x30, 0x83, 0]).is_err() && credssp_extent(&[0x31]).is_err());
    }

    #[test]
    fn what_is_sent_is_what_others_read() {
        for length in [0usize, 5, 127, 128, 1000, 0x3fff] {
            let data = vec![7u8; length];
            let frame = send_data(Way::Indication, 1007, 1004, &data).unwrap();
            let X224(McsMessage::SendDataIndication(read)) = ironrdp_core::decode(&frame).unwrap() else { panic!() };
            assert_eq!((read.initiator_id, read.channel_id, read.user_data.as_ref()), (1007, 1004, &data[..]));
            assert_eq!(mcs(&frame, Way::Indication), Ok(Mcs::Data { channel: 1004, data: &data }));
            assert_eq!(mcs(&frame, Way::Request), Ok(Mcs::Other(26)));
        }
        assert!(send_data(Way::Request, 1007, 1004, &vec![0; DATA_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn an_end_is_told_as_others_read_it() {
        for (leaving, reason) in
            [(Leaving::Provider, DisconnectReason::ProviderInitiated), (Leaving::User, DisconnectReason::UserRequested)]
        {
            let frame = disconnect(leaving);
            let X224(McsMessage::DisconnectProviderUltimatum(read)) = ironrdp_core::decode(&frame).unwrap() else {
                panic!()
            };
            assert_eq!(read.reason, reason);
            assert_eq!(mcs(&frame, Way::Indication), Ok(Mcs::Disconnect));
        }
        let data = error_info(9);
        let read: ShareControlHeader = ironrdp_core::decode(&data).unwrap();
        let ShareControlPdu::Data(read) = read.share_control_pdu else { panic!() };
        let ShareDataPdu::ServerSetErrorInfo(read) = read.share_data_pdu else { panic!() };
        let told = ErrorInfo::ProtocolIndependentCode(ProtocolIndependentCode::ServerInsufficientPrivileges);
        assert_eq!(read.0, told);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = extent(&bytes);
            let _ = credssp_extent(&bytes);
            let _ = mcs(&bytes, Way::Request);
            let _ = is_encrypted(&bytes);
        }

        #[test]
        fn a_length_that_does_not_agree_is_refused(data: Vec<u8>, cut in 1usize..40) {
            let frame = send_data(Way::Request, 1007, 1003, &data).unwrap();
            let short = &frame[..frame.len().saturating_sub(cut)];
            prop_assert!(mcs(short, Way::Request).is_err());
        }
    }
}
