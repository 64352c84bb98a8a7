//! `#[derive(Module)]` for `cairn_nn::Module`.
//!
//! Every field is visited under its name, in the order in which fields are declared; that order is the order of parameters
//! and their names are the paths in files. What a field is, a parameter, a buffer, a nested module or plain settings, is
//! decided by its type's own implementation of `Module`, so the macro needs to know nothing about types. A field of a type
//! that has none is left out with `#[module(skip)]`.

use proc_macro::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Index, Member, parse_macro_input, parse_quote};

/// Implements `cairn_nn::Module` by visiting each field.
///
/// Type parameters must be modules themselves. `#[module(skip)]` leaves a field out.
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(mut input: DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "Module can be derived for structs only"));
    };
    let members = visited(&data.fields)?;
    let names: Vec<String> = members
        .iter()
        .map(|member| match member {
            Member::Named(name) => name.to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        })
        .collect();
    for parameter in input.generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::cairn_nn::Module));
    }
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #impl_generics ::cairn_nn::Module for #name #type_generics #where_clause {
            fn visit(&self, visitor: &mut ::cairn_nn::Visitor<'_>) {
                #(visitor.field(#names, &self.#members);)*
            }
        }
    })
}

/// The fields that are not skipped.
fn visited(fields: &Fields) -> syn::Result<Vec<Member>> {
    let mut members = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        let mut skip = false;
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("module")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    skip = true;
                    Ok(())
                } else {
                    Err(meta.error("the only option is `skip`"))
                }
            })?;
        }
        if !skip {
            members.push(match &field.ident {
                Some(name) => Member::Named(name.clone()),
                None => Member::Unnamed(Index::from(position)),
            });
        }
    }
    Ok(members)
}
