use ironrdp_pdu::gcc::{
    ClientClusterData, ClientCoreData, ClientCoreOptionalData, ClientMessageChannelData, ColorDepth, ConnectionType,
    HighColorDepth, KeyboardType, MultiTransportChannelData, MultiTransportFlags, RedirectionFlags, RedirectionVersion,
    SecureAccessSequence, SupportedColorDepths,
};
use ironrdp_pdu::nego::{ConnectionConfirm, ResponseFlags};
use proptest::prelude::*;

use super::super::nego::TargetPolicy;
use super::super::pdu::{Way, send_data};
use super::*;

fn asked(width: u16, height: u16, names: &[&str]) -> Vec<u8> {
    let optional_data = ClientCoreOptionalData {
        post_beta2_color_depth: Some(ColorDepth::Bpp8),
        client_product_id: Some(1),
        serial_number: Some(0),
        high_color_depth: Some(HighColorDepth::Bpp24),
        supported_color_depths: Some(SupportedColorDepths::BPP32),
        early_capability_flags: Some(ClientEarlyCapabilityFlags::all()),
        dig_product_id: Some(String::new()),
        connection_type: Some(ConnectionType::Lan),
        server_selected_protocol: Some(SecurityProtocol::SSL),
        ..ClientCoreOptionalData::default()
    };
    let core = ClientCoreData {
        version: RdpVersion::V10_7,
        desktop_width: width,
        desktop_height: height,
        color_depth: ColorDepth::Bpp8,
        sec_access_sequence: SecureAccessSequence::Del,
        keyboard_layout: 0x40c,
        client_build: 22621,
        client_name: "lap\u{1b}top".into(),
        keyboard_type: KeyboardType::IBM_ENHANCED,
        keyboard_subtype: 0,
        keyboard_functional_keys_count: 12,
        ime_file_name: String::new(),
        optional_data,
    };
    let channel = |name: &&str| ChannelDef {
        name: ChannelName::from_utf8(name).unwrap(),
        options: ChannelOptions::INITIALIZED | ChannelOptions::COMPRESS_RDP | ChannelOptions::SHOW_PROTOCOL,
    };
    let blocks = ClientGccBlocks {
        core,
        security: ClientSecurityData::no_security(),
        network: Some(ClientNetworkData { channels: names.iter().map(channel).collect() }),
        cluster: Some(ClientClusterData {
            flags: RedirectionFlags::REDIRECTION_SUPPORTED,
            redirection_version: RedirectionVersion::V4,
            redirected_session_id: 0,
        }),
        monitor: None,
        message_channel: Some(ClientMessageChannelData),
        multi_transport_channel: Some(MultiTransportChannelData { flags: MultiTransportFlags::all() }),
        monitor_extended: None,
    };
    wrapped(&ConnectInitial::with_gcc_blocks(blocks).unwrap(), Malformed("test")).unwrap()
}

fn chosen() -> Chosen {
    let confirm = ConnectionConfirm::Response { flags: ResponseFlags::empty(), protocol: SecurityProtocol::HYBRID };
    TargetPolicy::NlaOnly.chosen(&encode_vec(&X224(confirm)).unwrap()).unwrap()
}

fn read_initial(tpkt: &[u8]) -> ClientGccBlocks {
    let X224(X224Data { data }) = decode::<X224<X224Data<'_>>>(tpkt).unwrap();
    decode::<ConnectInitial>(&data).unwrap().conference_create_request.into_gcc_blocks()
}

#[test]
fn a_target_is_asked_for_what_is_recorded_and_under_names_that_may_pass() {
    let wanted = Wanted::read(&asked(1024, 768, &["rdpdr", "cliprdr"])).unwrap();
    assert_eq!((wanted.size(), wanted.program()), ((1024, 768), ("laptop".into(), 22621)));
    assert_eq!(wanted.channels(), ["rdpdr", "cliprdr"]);
    let offered = ["none0".to_owned(), "cliprdr".to_owned()];
    let blocks = read_initial(&wanted.for_target(chosen(), &offered).unwrap());
    let names = blocks.channel_names().unwrap();
    assert_eq!(names.iter().map(|channel| channel.name.as_str().unwrap()).collect::<Vec<_>>(), ["none0", "cliprdr"]);
    assert!(names.iter().all(|channel| !channel.options.contains(ChannelOptions::COMPRESS_RDP)));
    let flags = blocks.core.optional_data.early_capability_flags.unwrap();
    assert!(!flags.intersects(
        ClientEarlyCapabilityFlags::SUPPORT_DYN_VC_GFX_PROTOCOL
            | ClientEarlyCapabilityFlags::SUPPORT_SKIP_CHANNELJOIN
            | ClientEarlyCapabilityFlags::SUPPORT_HEART_BEAT_PDU
    ));
    assert!(flags.contains(ClientEarlyCapabilityFlags::SUPPORT_ERR_INFO_PDU));
    assert_eq!(blocks.core.optional_data.server_selected_protocol, Some(SecurityProtocol::HYBRID));
    assert!(blocks.cluster.is_none() && blocks.message_channel.is_none() && blocks.multi_transport_channel.is_none());
}

#[test]
fn a_desktop_of_a_giant_size_is_refused() {
    let size = |width, height| Wanted::read(&asked(width, height, &[])).map(|wanted| wanted.size());
    assert_eq!(size(8192, 4096).unwrap(), (8192, 4096));
    for (width, height) in [(8192, 8192), (8193, 10), (10, 65535), (0, 768)] {
        assert_eq!(size(width, height).unwrap_err(), Refusal::TooLarge(width, height));
    }
}

#[test]
fn a_users_program_joins_the_channels_that_it_was_given_and_no_other() {
    let wanted = Wanted::read(&asked(800, 600, &["a", "b", "c"])).unwrap();
    let domain = wanted.own_domain();
    assert_eq!(domain, Domain { user: 1007, io: 1003, channels: vec![1004, 1005, 1006] });
    assert_eq!(given(&wanted.response(0xb).unwrap(), 3), Ok((1003, vec![1004, 1005, 1006])));
    assert!(given(&wanted.response(0xb).unwrap(), 2).is_err());
    let Ok(Joining::Answer(confirm)) = join(&attach().unwrap()[12..], &domain) else { panic!() };
    assert_eq!(attached(&confirm), Ok(1007));
    let Ok(Joining::Answer(confirm)) = join(&join_request(1007, 1005).unwrap(), &domain) else { panic!() };
    assert_eq!((join_confirmed(&confirm, 1005), join_confirmed(&confirm, 1004).is_err()), (Ok(()), true));
    assert!(join(&join_request(1007, 1008).unwrap(), &domain).is_err());
    let info = send_data(Way::Request, 1007, 1003, b"x").unwrap();
    assert_eq!(join(&info, &domain), Ok(Joining::Info(b"x".to_vec())));
}

proptest! {
    #[test]
    fn no_flipped_byte_makes_it_panic(at in 0usize..600, to: u8) {
        let mut bytes = asked(1024, 768, &["rdpdr", "cliprdr", "drdynvc"]);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = to;
        }
        if let Ok(wanted) = Wanted::read(&bytes) {
            let _ = wanted.for_target(chosen(), &[]);
            let _ = wanted.response(1);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = Wanted::read(&bytes);
        let _ = given(&bytes, 2);
        let _ = attached(&bytes);
        let _ = join_confirmed(&bytes, 1003);
        let _ = join(&bytes, &Domain { user: 1004, io: 1003, channels: Vec::new() });
    }
}
