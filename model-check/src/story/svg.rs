//! A story as a sequence diagram that a browser draws by itself.

use std::collections::BTreeSet;

use super::{Line, Party};

/// The diagram as SVG: a lane for each party, an arrow for each message, and beside the lanes the
/// number of the step that it belongs to.
pub fn svg(lines: &[Line]) -> String {
    let mut parties: BTreeSet<Party> = lines.iter().map(|line| line.who).collect();
    parties.extend(lines.iter().flat_map(|l| l.messages.iter().flat_map(|m| [m.from, m.to])));
    let parties: Vec<Party> = parties.into_iter().collect();
    let x = |party: Party| {
        let lane = parties.iter().position(|of| *of == party).unwrap_or_default();
        MARGIN + lane * LANE
    };
    let mut rows = String::new();
    let mut y = HEAD;
    for (number, line) in lines.iter().enumerate() {
        rows += &text(MARGIN / 4, y + 4, "start", &format!("{}", number + 1));
        if line.messages.is_empty() {
            let at = x(line.who);
            rows += &format!("<circle cx=\"{at}\" cy=\"{y}\" r=\"5\" fill=\"#345\"/>");
            y += ROW;
        }
        for message in &line.messages {
            let (from, to) = (x(message.from), x(message.to));
            rows += &format!(
                "<line x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\" stroke=\"#345\" \
                 marker-end=\"url(#head)\"/>"
            );
            rows += &text(usize::midpoint(from, to), y - 6, "middle", &message.label);
            y += ROW;
        }
    }
    let mut lanes = String::new();
    for party in &parties {
        let at = x(*party);
        lanes += &format!(
            "<line x1=\"{at}\" y1=\"40\" x2=\"{at}\" y2=\"{y}\" stroke=\"#bbb\" \
             stroke-dasharray=\"4 4\"/>"
        );
        lanes += &text(at, 28, "middle", &party.names().1);
    }
    let width = MARGIN * 2 + parties.len().saturating_sub(1) * LANE;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" baseProfile=\"full\" \
         viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\"><defs><marker id=\"head\" markerWidth=\"10\" \
         markerHeight=\"8\" refX=\"10\" refY=\"4\" orient=\"auto\"><polygon points=\"0 0, 10 4, 0 \
         8\" fill=\"#345\"/></marker></defs><rect width=\"100%\" height=\"100%\" \
         fill=\"#fff\"/>{lanes}{rows}</svg>",
        height = y + ROW / 2,
    )
}

fn text(x: usize, y: usize, anchor: &str, said: &str) -> String {
    let said = said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{said}</text>")
}

const MARGIN: usize = 110;
const LANE: usize = 230;
const HEAD: usize = 70;
const ROW: usize = 34;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::Message;

    #[test]
    fn a_message_is_an_arrow_and_a_deed_is_a_dot() {
        let message =
            Message { from: Party::Device, to: Party::Custodian(1), label: "a < b & c".to_owned() };
        let line = |messages| Line { text: String::new(), messages, who: Party::Device };
        let drawn = svg(&[line(vec![message]), line(Vec::new())]);
        assert_eq!(drawn.matches("marker-end").count(), 1);
        assert_eq!(drawn.matches("<circle").count(), 1);
        assert!(drawn.contains("a &lt; b &amp; c") && drawn.contains(">Custodian 1</text>"));
    }
}
