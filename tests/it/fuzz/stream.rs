//! What a control plane sends: frames of any bytes in any pieces, messages, and the changes that they make up.

use keyward::authz::{KeyId, Principal};
use keyward::wire::Change;
use keyward::wire::sync::{
    Assembly, CHANGE_KEYS_MAX, FrameReader, FrameWriter, Message, encode_change,
};

pub fn stream(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else {
        return;
    };
    let raw = read(bytes, usize::from(*piece));
    assert_eq!(read(bytes, bytes.len()), raw, "however it comes");
    let payloads: Vec<&[u8]> = payloads(bytes).collect();
    let mut writer = FrameWriter::new(None);
    let mut framed = Vec::new();
    for payload in &payloads {
        writer.frame(payload, &mut framed).expect("a short payload");
    }
    let (read, is_whole) = read(&framed, usize::from(*piece));
    assert!(is_whole && read == payloads);
    messages(&payloads);
}

/// The payloads of a stream, and whether it may end here. Nothing after a fault is believed.
fn read(bytes: &[u8], piece: usize) -> (Vec<Vec<u8>>, bool) {
    let mut reader = FrameReader::new(None);
    let mut payloads = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        reader.push(piece);
        loop {
            match reader.next_payload() {
                Ok(Some(payload)) => payloads.push(payload.to_vec()),
                Ok(None) => break,
                Err(_) => return (payloads, false),
            }
        }
    }
    (payloads, reader.is_at_boundary())
}

/// Pieces, each with its length in a byte before it.
pub fn payloads(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first()?;
        let (payload, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        Some(payload)
    })
}

/// Whatever can be read is written as it was read, and what makes up a change makes up the same one again.
fn messages(payloads: &[&[u8]]) {
    let mut assembly = Assembly::default();
    for payload in payloads {
        let Ok(message) = Message::decode(payload) else {
            continue;
        };
        let written = message.encode();
        let again = Message::decode(&written).expect("what was written");
        assert_eq!(again.encode(), written);
        let taken = match message {
            Message::Put(entries) => {
                for entry in &entries {
                    Principal::compile(&entry.record);
                }
                assembly.put(entries)
            }
            Message::Removed(ids) => assembly.remove(ids),
            Message::Apply { previous, revision } => {
                let change = assembly.finish(previous, revision);
                assert_eq!(told_again(&change), encode_change(&change));
                Ok(())
            }
            Message::Begin { .. }
            | Message::End { .. }
            | Message::Heartbeat { .. }
            | Message::Resync => Ok(()),
        };
        taken.expect("fewer keys than the limit");
    }
}

/// A change as whoever received it would tell it.
fn told_again(change: &Change) -> Vec<Vec<u8>> {
    let mut assembly = Assembly::default();
    for payload in encode_change(change) {
        match Message::decode(&payload).expect("a payload of a change") {
            Message::Put(entries) => assembly.put(entries).expect("few"),
            Message::Removed(ids) => assembly.remove(ids).expect("few"),
            Message::Apply { previous, revision } => {
                let received = assembly.finish(previous, revision);
                let keys = |change: &Change| change.put.len() + change.removed.len();
                assert!(keys(&received) == keys(change) && keys(change) <= CHANGE_KEYS_MAX);
                let ids = |change: &Change| -> Vec<KeyId> { change.removed.clone() };
                assert_eq!(ids(&received), ids(change));
                return encode_change(&received);
            }
            other @ (Message::Begin { .. }
            | Message::End { .. }
            | Message::Heartbeat { .. }
            | Message::Resync) => panic!("{other:?} in a change"),
        }
    }
    panic!("a change without an end")
}
