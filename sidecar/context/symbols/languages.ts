/**
 * What a definition, a container of definitions and an import are in each grammar. Node names are those of the
 * tree-sitter grammars; whatever is not named here is looked through only where it is a container.
 */

export interface Language {
  /** As in `tree-sitter-<grammar>.wasm`. */
  readonly grammar: string;
  readonly definitions: ReadonlySet<string>;
  /** Looked into for more: wrappers and bodies. Bodies of functions are not. */
  readonly containers: ReadonlySet<string>;
  readonly imports: ReadonlySet<string>;
  /** Calls of `import` and `require` import too. */
  readonly importCalls?: boolean;
}

const set = (names: string): ReadonlySet<string> => new Set(names.split(' ').filter((name) => name !== ''));

const SCRIPT = {
  definitions: set(
    'function_declaration generator_function_declaration function_signature class_declaration abstract_class_declaration ' +
      'interface_declaration type_alias_declaration enum_declaration variable_declarator method_definition ' +
      'method_signature abstract_method_signature public_field_definition field_definition property_signature ' +
      'internal_module',
  ),
  containers: set(
    'export_statement ambient_declaration lexical_declaration variable_declaration class_body interface_body ' +
      'object_type statement_block expression_statement',
  ),
  imports: set('import_statement export_statement'),
  importCalls: true,
};

const C_FAMILY: Language = {
  grammar: 'cpp',
  definitions: set(
    'function_definition declaration field_declaration struct_specifier class_specifier union_specifier enum_specifier ' +
      'type_definition alias_declaration preproc_def preproc_function_def namespace_definition concept_definition',
  ),
  containers: set(
    'template_declaration declaration_list field_declaration_list linkage_specification preproc_if preproc_ifdef ' +
      'preproc_else preproc_elif',
  ),
  imports: set('preproc_include'),
};

const LANGUAGES: readonly (readonly [string, Language])[] = [
  ['ts mts cts', { grammar: 'typescript', ...SCRIPT }],
  ['tsx', { grammar: 'tsx', ...SCRIPT }],
  ['js jsx mjs cjs', { grammar: 'javascript', ...SCRIPT }],
  [
    'py pyi',
    {
      grammar: 'python',
      definitions: set('function_definition class_definition assignment'),
      containers: set(
        'decorated_definition block expression_statement if_statement else_clause try_statement',
      ),
      imports: set('import_statement import_from_statement'),
    },
  ],
  [
    'go',
    {
      grammar: 'go',
      definitions: set(
        'function_declaration method_declaration type_spec type_alias const_spec var_spec method_elem',
      ),
      containers: set(
        'type_declaration const_declaration var_declaration var_spec_list interface_type import_declaration ' +
          'import_spec_list',
      ),
      imports: set('import_spec'),
    },
  ],
  [
    'rs',
    {
      grammar: 'rust',
      definitions: set(
        'function_item function_signature_item struct_item enum_item union_item trait_item type_item const_item ' +
          'static_item mod_item macro_definition associated_type',
      ),
      containers: set('impl_item declaration_list foreign_mod_item'),
      imports: set('use_declaration extern_crate_declaration'),
    },
  ],
  ['c h cc cpp cxx hh hpp hxx ipp inl cu cuh', C_FAMILY],
  [
    'java',
    {
      grammar: 'java',
      definitions: set(
        'class_declaration interface_declaration enum_declaration record_declaration annotation_type_declaration ' +
          'method_declaration constructor_declaration variable_declarator enum_constant',
      ),
      containers: set('class_body interface_body enum_body enum_body_declarations field_declaration'),
      imports: set('import_declaration'),
    },
  ],
  [
    'cs',
    {
      grammar: 'c-sharp',
      definitions: set(
        'class_declaration struct_declaration interface_declaration enum_declaration record_declaration ' +
          'method_declaration constructor_declaration property_declaration delegate_declaration variable_declarator ' +
          'enum_member_declaration',
      ),
      containers: set(
        'namespace_declaration file_scoped_namespace_declaration declaration_list field_declaration ' +
          'variable_declaration enum_member_declaration_list',
      ),
      imports: set('using_directive'),
    },
  ],
  [
    'rb rake',
    {
      grammar: 'ruby',
      definitions: set('class module method singleton_method'),
      containers: set('body_statement'),
      imports: set('call'),
    },
  ],
  [
    'php',
    {
      grammar: 'php',
      definitions: set(
        'class_declaration interface_declaration trait_declaration enum_declaration function_definition ' +
          'method_declaration const_element',
      ),
      containers: set('namespace_definition compound_statement declaration_list const_declaration'),
      imports: set('namespace_use_declaration'),
    },
  ],
  [
    'sh bash',
    { grammar: 'bash', definitions: set('function_definition'), containers: set(''), imports: set('') },
  ],
];

const BY_EXTENSION: ReadonlyMap<string, Language> = new Map(
  LANGUAGES.flatMap(([extensions, language]) => extensions.split(' ').map((e) => [e, language] as const)),
);

export function languageOf(path: string): Language | undefined {
  return BY_EXTENSION.get(path.slice(path.lastIndexOf('.') + 1).toLowerCase());
}
