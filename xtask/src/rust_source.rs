//! Rust source as token trees with line numbers: what the audit and tidy have in common.
//!
//! We look at tokens, not at a syntax tree, on purpose: a syntax tree ends at each macro call, and
//! what stands in the arguments of a macro, or in the body of one, counts too.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The token trees of a file.
pub fn tokens(text: &str) -> Result<Vec<TokenTree>, String> {
    let stream: TokenStream = text.parse().map_err(|error: proc_macro2::LexError| {
        format!("line {}: not Rust tokens ({error})", error.span().start().line)
    })?;
    Ok(stream.into_iter().collect())
}

pub fn trees(group: &Group) -> Vec<TokenTree> {
    group.stream().into_iter().collect()
}

/// The line a token starts in, counted from 1.
pub fn line(token: &TokenTree) -> usize {
    token.span().start().line
}

pub fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == c)
}

pub fn is_ident(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == name)
}

pub fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

pub fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

pub fn any_group(token: Option<&TokenTree>) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) => Some(group),
        _ => None,
    }
}

/// The attribute at `i`, `#[…]` or `#![…]`: its content, and the index after it.
pub fn attribute(tokens: &[TokenTree], i: usize) -> Option<(&Group, usize)> {
    if !is_punct(tokens.get(i), '#') {
        return None;
    }
    let i = if is_punct(tokens.get(i + 1), '!') { i + 2 } else { i + 1 };
    Some((group(tokens.get(i), Delimiter::Bracket)?, i + 1))
}

/// The macro call at `i`, `name!(…)` with any bracket, `macro_rules!` excepted.
pub fn macro_call(tokens: &[TokenTree], i: usize) -> Option<(String, &Group)> {
    let name = ident(tokens.get(i)).filter(|name| name != "macro_rules")?;
    if !is_punct(tokens.get(i + 1), '!') {
        return None;
    }
    Some((name, any_group(tokens.get(i + 2))?))
}

/// Whether a word stands anywhere in the group, at any depth.
pub fn mentions(group: &Group, word: &str) -> bool {
    trees(group).iter().any(|token| match token {
        TokenTree::Group(inner) => mentions(inner, word),
        other => is_ident(Some(other), word),
    })
}

/// The text of a plain or raw string literal.
pub fn string(token: Option<&TokenTree>) -> Option<String> {
    let Some(TokenTree::Literal(literal)) = token else {
        return None;
    };
    let literal = literal.to_string();
    let literal = literal.strip_prefix('r').unwrap_or(&literal);
    let literal = literal.trim_matches('#');
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    Some(text.to_owned())
}
